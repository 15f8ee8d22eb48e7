//! [`Topic`] on SNS.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use rowmill_domain::message::RunMessage;
use rowmill_ports::{ErrorKind, PortError, Result, Topic, message_text};

use crate::error::failed;

const OPERATION: &str = "Publish";

/// An SNS topic.
#[derive(Clone, Debug)]
pub struct SnsTopic {
    client: Client,
    arn: String,
}

impl SnsTopic {
    /// The topic with this ARN.
    pub fn new(sdk: &SdkConfig, arn: impl Into<String>) -> SnsTopic {
        SnsTopic {
            client: Client::new(sdk),
            arn: arn.into(),
        }
    }
}

#[async_trait]
impl Topic for SnsTopic {
    async fn publish(&self, message: &RunMessage) -> Result<()> {
        let text = message_text(message, OPERATION, &self.arn)?;
        let kind = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(message.kind())
            .build()
            .map_err(|e| PortError::new(OPERATION, &self.arn, ErrorKind::Invalid, e))?;
        self.client
            .publish()
            .topic_arn(&self.arn)
            .message(text)
            .message_attributes("kind", kind)
            .send()
            .await
            .map_err(failed(OPERATION, &self.arn))?;
        Ok(())
    }
}
