//! Amazon Translate.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_translate::Client;
use rowmill_domain::limits::TRANSLATE_TEXT_BYTES;
use rowmill_steps::{Limit, Translation, TranslationError, Translator};

use crate::error::failed;

/// Amazon Translate in the configuration's region. The SDK retries throttled calls and outages, as
/// in [`crate::retries`].
pub struct AmazonTranslate {
    client: Client,
}

impl AmazonTranslate {
    /// A client for the configuration's region.
    pub fn new(config: &SdkConfig) -> AmazonTranslate {
        AmazonTranslate {
            client: Client::new(config),
        }
    }
}

#[async_trait]
impl Translator for AmazonTranslate {
    async fn limit(&self) -> Limit {
        Limit::Bytes(TRANSLATE_TEXT_BYTES)
    }

    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
        to: &str,
    ) -> Result<Translation, TranslationError> {
        let from = from.unwrap_or("auto");
        let call = self
            .client
            .translate_text()
            .text(text)
            .source_language_code(from)
            .target_language_code(to);
        // The SDK does not report the number of attempts.
        let attempts = 1;
        match call.send().await {
            Ok(response) => Ok(Translation {
                text: response.translated_text,
                attempts,
            }),
            Err(error) => Err(TranslationError {
                reason: failed("TranslateText", format!("{from} to {to}"))(error).to_string(),
                attempts,
            }),
        }
    }
}
