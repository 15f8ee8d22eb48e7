use aws_config::SdkConfig;
use rowmill_ports::{ErrorKind, PortError, Result};

use crate::error::failed;

/// Returns the image that a function runs, with its digest. This is the deployed image even if its
/// tag has moved since.
///
/// # Errors
/// The call failed, or the function is not deployed as a container image ([`ErrorKind::Invalid`]).
pub async fn function_image(config: &SdkConfig, function: &str) -> Result<String> {
    let response = aws_sdk_lambda::Client::new(config)
        .get_function()
        .function_name(function)
        .send()
        .await
        .map_err(failed("GetFunction", function))?;
    let image = response.code().and_then(|code| code.resolved_image_uri());
    image.map(str::to_owned).ok_or_else(|| {
        let message = "the function is not a container image; deploy it with PackageType: Image";
        PortError::new("GetFunction", function, ErrorKind::Invalid, message)
    })
}
