//! The guarantees of [`Mailer`].

use rowmill_domain::limits;

use crate::{Envelope, ErrorKind, Mailer};

/// Checks an adapter. Sends two emails from `from` to `to`.
///
/// # Panics
/// If a guarantee of [`Mailer`] does not hold.
pub async fn mailer(mailer: &dyn Mailer, from: &str, to: &str) {
    let envelope = |recipients: usize| Envelope {
        to: vec![to.to_owned(); recipients],
        ..envelope(from, to)
    };
    let most = limits::RECIPIENTS_MAX;
    mailer
        .send(&envelope(most), &to_nobody(from, to))
        .await
        .expect("the most recipients");
    // Not every emulator can verify it.
    mailer.is_verified(from).await.expect("a sender");
    let mime = mime(from, to);
    let id = mailer.send(&envelope(1), &mime).await.expect("an email");
    assert!(!id.is_empty(), "a sent mail has an id");

    for recipients in [0, most + 1] {
        let error = mailer.send(&envelope(recipients), &mime).await;
        let error = error.expect_err("a limit");
        assert_eq!(
            error.kind,
            ErrorKind::Invalid,
            "{recipients} recipients: {error}"
        );
    }
    let mut large = mime;
    large.resize(limits::MAIL_MAX + 1, b'\n');
    let error = mailer
        .send(&envelope(1), &large)
        .await
        .expect_err("a limit");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

/// The envelope of an email.
pub fn envelope(from: &str, to: &str) -> Envelope {
    Envelope {
        run: "20261121-suite-0123456789ab".parse().unwrap(),
        from: from.to_owned(),
        to: vec![to.to_owned()],
    }
}

/// The same email as [`mime`], with recipients only in the envelope.
pub fn to_nobody(from: &str, to: &str) -> Vec<u8> {
    let mime = String::from_utf8(mime(from, to)).unwrap();
    let header = format!("To: {to}\r\n");
    mime.replace(&header, "To: undisclosed-recipients:;\r\n")
        .into_bytes()
}

/// A small mail with CRLF line ends.
pub fn mime(from: &str, to: &str) -> Vec<u8> {
    format!(
        "Message-ID: <suite-1@example.com>\r\nFrom: {from}\r\nTo: {to}\r\n\
         Subject: Conformance\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nA line.\r\n.A line with a dot.\r\n"
    )
    .into_bytes()
}
