//! Secrets and images of functions.

use rowmill_aws::{function_image, secret};
use rowmill_ports::ErrorKind;
use rowmill_tests_aws::emulators::Emulator;

#[tokio::test]
async fn secrets_are_read_and_errors_name_the_secret() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let client = aws_sdk_secretsmanager::Client::new(&config);
    let create = client.create_secret().name("text").secret_string("s3cret");
    let text = create.send().await.unwrap();
    let bytes = aws_sdk_secretsmanager::primitives::Blob::new([0, 159, 255]);
    let create = client.create_secret().name("bytes").secret_binary(bytes);
    create.send().await.unwrap();
    assert_eq!(secret(&config, "text").await.unwrap(), b"s3cret");
    assert_eq!(
        secret(&config, text.arn().unwrap()).await.unwrap(),
        b"s3cret"
    );
    assert_eq!(secret(&config, "bytes").await.unwrap(), [0, 159, 255]);

    let absent = secret(&config, "absent").await.unwrap_err();
    assert_eq!(absent.kind, ErrorKind::NotFound);
    let said = absent.to_string();
    for part in [
        "GetSecretValue absent: ",
        "ResourceNotFoundException",
        "HTTP 400, request id ",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn a_missing_function_is_named() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let absent = function_image(&config, "absent").await.unwrap_err();
    assert!(absent.is_not_found(), "{absent}");
    assert!(
        absent.to_string().contains("GetFunction absent"),
        "{absent}"
    );
}

#[tokio::test]
async fn a_call_without_an_answer_can_be_retried() {
    // No process listens on port 1.
    let config = rowmill_tests_aws::emulators::sdk_config("http://127.0.0.1:1");
    let config = config
        .to_builder()
        .retry_config(aws_config::retry::RetryConfig::disabled());
    let error = secret(&config.build(), "any").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
