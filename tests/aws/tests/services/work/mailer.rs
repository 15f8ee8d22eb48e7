//! Mail on SES. moto returns the email as it was sent.

use rowmill_aws::SesMailer;
use rowmill_ports::conformance;
use rowmill_ports::{ErrorKind, Mailer};
use rowmill_tests_aws::emulators::{Emulator, sdk_config};
use rowmill_tests_aws::wire::Wire;
use serde_json::{Value, json};

const FROM: &str = "rowmill@example.com";
const TO: &str = "ana@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_mailer() {
    let aws = Emulator::moto();
    let config = aws.sdk_config();
    let mailer = SesMailer::new(&config, None);
    let envelope = conformance::mailer::envelope(FROM, TO);
    let mime = conformance::mailer::mime(FROM, TO);

    let error = mailer.send(&envelope, &mime).await.unwrap_err();
    // The wording of moto for an unverified sender is different from AWS.
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    let said = error.to_string();
    for part in [
        "SendEmail ana@example.com: MessageRejected",
        "does not accept this email",
        "request id",
    ] {
        assert!(said.contains(part), "{said}");
    }

    assert!(!mailer.is_verified(FROM).await.unwrap(), "no such identity");
    let client = aws_sdk_sesv2::Client::new(&config);
    let identity = client.create_email_identity().email_identity(FROM);
    identity.send().await.unwrap();
    conformance::mailer::mailer(&mailer, FROM, TO).await;

    let state: Value = serde_json::from_str(&aws.http("GET", "/moto-api/data.json", "")).unwrap();
    let sent: Vec<&Value> = state["ses"]["RawMessage"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    let expected = [conformance::mailer::to_nobody(FROM, TO), mime];
    assert_eq!(sent.len(), expected.len(), "{sent:?}");
    for (mail, mime) in sent.into_iter().zip(expected) {
        assert_eq!(mail["source"], FROM, "{mail}");
        let raw = mail["raw_data"].as_str().unwrap();
        assert_eq!(raw.as_bytes(), mime, "byte for byte");
    }
}

#[tokio::test]
async fn an_identity_is_verified_when_its_link_was_clicked() {
    for (status, verified) in [("PENDING", false), ("SUCCESS", true)] {
        let answer = format!(
            r#"{{"IdentityType":"EMAIL_ADDRESS","VerificationStatus":"{status}","VerifiedForSendingStatus":{verified}}}"#
        );
        let wire = Wire::replay(move |_| Some((200, answer.clone())));
        let mailer = SesMailer::new(&wire.on(&sdk_config("http://127.0.0.1:1")), None);
        assert_eq!(mailer.is_verified(FROM).await.unwrap(), verified);
    }
}

/// moto does not store tags, so the test reads the request.
#[tokio::test]
async fn a_mail_names_its_run() {
    let wire = Wire::replay(|_| Some((200, r#"{"MessageId":"m"}"#.to_owned())));
    let mailer = SesMailer::new(&wire.on(&sdk_config("http://127.0.0.1:1")), None);
    let envelope = conformance::mailer::envelope(FROM, TO);
    mailer.send(&envelope, b"mail").await.unwrap();
    let tags = &wire.sent("")[0].body["EmailTags"];
    let run = envelope.run.as_str();
    assert_eq!(*tags, json!([{ "Name": "rowmill-run", "Value": run }]));
}

/// SES may have accepted the email of a request that failed, so only a refusal is repeated.
#[tokio::test]
async fn an_email_whose_fate_is_unknown_is_sent_once() {
    let throttled = r#"{"__type":"TooManyRequestsException","message":"slow down"}"#;
    for (status, answer, sent, kind) in [
        (500, "{}", 1, ErrorKind::Unavailable),
        (503, "{}", 1, ErrorKind::Unavailable),
        (429, throttled, 8, ErrorKind::Throttled),
    ] {
        let wire = Wire::replay(move |_| Some((status, answer.to_owned())));
        let mailer = SesMailer::new(&wire.on(&sdk_config("http://127.0.0.1:1")), None);
        let envelope = conformance::mailer::envelope(FROM, TO);
        let error = mailer.send(&envelope, b"mail").await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(wire.sent("").len(), sent, "{status}");
    }
}
