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
