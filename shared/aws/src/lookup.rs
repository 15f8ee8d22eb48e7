use aws_config::SdkConfig;
use rowmill_ports::{ErrorKind, PortError, Result};

use crate::error::failed;

/// The image that a function runs, with its digest: what was deployed, also after the tag has
/// moved on.
///
/// # Errors
/// The call failed, or the function is none of an image ([`ErrorKind::Invalid`]).
pub async fn function_image(config: &SdkConfig, function: &str) -> Result<String> {
    let answer = aws_sdk_lambda::Client::new(config)
        .get_function()
        .function_name(function)
        .send()
        .await
        .map_err(failed("GetFunction", function))?;
    let image = answer.code().and_then(|code| code.resolved_image_uri());
    image.map(str::to_owned).ok_or_else(|| {
        let message = "the function runs no container image; deploy it with PackageType: Image";
        PortError::new("GetFunction", function, ErrorKind::Invalid, message)
    })
}

/// The current value of a secret, by name or ARN.
///
/// # Errors
/// The call failed, or the secret has no value ([`ErrorKind::Invalid`]).
pub async fn secret(config: &SdkConfig, id: &str) -> Result<Vec<u8>> {
    let answer = aws_sdk_secretsmanager::Client::new(config)
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .map_err(failed("GetSecretValue", id))?;
    match (answer.secret_binary, answer.secret_string) {
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
