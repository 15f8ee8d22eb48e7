//! Invokes Lambda functions.

use std::collections::BTreeMap;

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

    /// The environment variables that the function is deployed with.
    ///
    /// # Errors
    /// The call failed; [`ErrorKind::NotFound`] if there is no such function.
    pub async fn variables(&self) -> Result<BTreeMap<String, String>> {
        let found = self
            .client
            .get_function_configuration()
            .function_name(&self.name)
            .send()
            .await
            .map_err(failed("GetFunctionConfiguration", &self.name))?;
        let variables = found.environment.and_then(|set| set.variables);
        Ok(variables.unwrap_or_default().into_iter().collect())
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
