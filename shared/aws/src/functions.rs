//! Invokes Lambda functions.

use aws_config::SdkConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use rowmill_ports::{ErrorKind, PortError, Result};
use serde_json::Value;

use crate::error::failed;

/// A function.
#[derive(Clone, Debug)]
pub struct LambdaFunction {
    client: Client,
    name: String,
}

impl LambdaFunction {
    /// The function with this name or ARN.
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> LambdaFunction {
        LambdaFunction {
            client: Client::new(config),
            name: name.into(),
        }
    }

    /// Invokes the function and waits for its answer.
    ///
    /// # Errors
    /// The call failed, or the function did: [`ErrorKind::Unavailable`] with its error.
    pub async fn call(&self, payload: &Value) -> Result<Value> {
        let answer = self
            .client
            .invoke()
            .function_name(&self.name)
            .payload(Blob::new(payload.to_string()))
            .send()
            .await
            .map_err(failed("Invoke", &self.name))?;
        let bytes = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let broken =
            |message| PortError::new("Invoke", &self.name, ErrorKind::Unavailable, message);
        if let Some(kind) = answer.function_error {
            let said = String::from_utf8_lossy(&bytes);
            return Err(broken(format!("{kind}: {said}")));
        }
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
    }

    /// Invokes the function, which then runs on its own. Lambda repeats an invocation that fails.
    ///
    /// # Errors
    /// The call failed.
    pub async fn start(&self, payload: &Value) -> Result<()> {
        self.client
            .invoke()
            .function_name(&self.name)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(payload.to_string()))
            .send()
            .await
            .map_err(failed("Invoke", &self.name))?;
        Ok(())
    }
}
