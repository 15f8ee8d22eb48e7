use aws_config::SdkConfig;
use rowmill_ports::{ErrorKind, PortError, Result};

use crate::error::failed;

/// Reads the current value of a secret, by name or ARN.
///
/// # Errors
/// The call failed, or the secret has no value ([`ErrorKind::Invalid`]).
pub async fn secret(config: &SdkConfig, id: &str) -> Result<Vec<u8>> {
    let response = aws_sdk_secretsmanager::Client::new(config)
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .map_err(failed("GetSecretValue", id))?;
    match (response.secret_binary, response.secret_string) {
        (Some(bytes), _) => Ok(bytes.into_inner()),
        (None, Some(text)) => Ok(text.into_bytes()),
        (None, None) => {
            let message = "the secret has no value";
            Err(PortError::new(
                "GetSecretValue",
                id,
                ErrorKind::Invalid,
                message,
            ))
        }
    }
}
