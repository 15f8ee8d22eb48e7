//! The SMTP mailer with a local SMTP server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};

use rowmill_local::SmtpMailer;
use rowmill_ports::conformance::mailer;
use rowmill_ports::{Envelope, ErrorKind, Mailer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// An email that the server accepted.
#[derive(Clone, Debug, Default, PartialEq)]
struct Accepted {
    from: String,
    to: Vec<String>,
    data: String,
}

/// Starts a server that answers `MAIL FROM` with `mail` and accepts everything else. Returns its port
/// and the emails that it accepts.
async fn serve(mail: &'static str) -> (u16, Arc<Mutex<Vec<Accepted>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let all: Arc<Mutex<Vec<Accepted>>> = Arc::default();
    let accepted = Arc::clone(&all);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let accepted = Arc::clone(&accepted);
            // The client may disconnect at any time.
            tokio::spawn(async move { session(socket, mail, &accepted).await.ok() });
        }
    });
    (port, all)
}

async fn session(
    socket: TcpStream,
    mail: &str,
    all: &Mutex<Vec<Accepted>>,
) -> Result<(), std::io::Error> {
    let mut socket = BufReader::new(socket);
    socket.write_all(b"220 test\r\n").await?;
    let mut accepted = Accepted::default();
    let mut line = String::new();
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        let address = || {
            command
                .split(['<', '>'])
                .nth(1)
                .unwrap_or_default()
                .to_owned()
        };
        let answer = match command.get(..4).unwrap_or(&command) {
            "EHLO" => "250-test\r\n250 8BITMIME",
            "MAIL" => {
                accepted.from = address();
                mail
            }
            "RCPT" => {
                accepted.to.push(address());
                "250 OK"
            }
            "DATA" => {
                socket.write_all(b"354 continue\r\n").await?;
                loop {
                    line.clear();
                    socket.read_line(&mut line).await?;
                    if line == ".\r\n" {
                        break;
                    }
                    accepted.data += line.strip_prefix('.').unwrap_or(&line);
                }
                all.lock().unwrap().push(std::mem::take(&mut accepted));
                "250 queued as 4711"
            }
            "QUIT" => "221 bye",
            _ => "250 OK",
        };
        socket.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

const FROM: &str = "rowmill@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn the_mailer_passes_the_suite_and_sends_mails_unchanged() {
    let (port, all) = serve("250 OK").await;
    let relay = SmtpMailer::new(&format!("smtp://127.0.0.1:{port}")).unwrap();
    mailer::mailer(&relay, FROM, "ana@example.com").await;
    let all = all.lock().unwrap().clone();
    assert_eq!(all.len(), 2, "refused mails were not sent");
    assert_eq!(all[0].to.len(), 50);
    assert_eq!((all[1].from.as_str(), all[1].to.len()), (FROM, 1));
    let sent = String::from_utf8(mailer::mime(FROM, "ana@example.com")).unwrap();
    assert_eq!(all[1].data, sent, "byte for byte, leading dots too");
}

fn envelope(to: &str) -> Envelope {
    mailer::envelope(FROM, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_relay_decides_whether_the_error_is_retryable() {
    let mime = mailer::mime(FROM, "ana@example.com");
    for (answer, kind) in [
        ("451 busy, later", ErrorKind::Unavailable),
        ("550 no such mailbox", ErrorKind::Invalid),
        ("530 authenticate first", ErrorKind::Denied),
    ] {
        let (port, _) = serve(answer).await;
        let relay = SmtpMailer::new(&format!("smtp://localhost:{port}")).unwrap();
        let error = relay
            .send(&envelope("ana@example.com"), &mime)
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        let (_, reason) = answer.split_once(' ').unwrap();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let (port, _) = serve("250 OK").await;
    let relay = SmtpMailer::new(&format!("smtp://127.0.0.1:{port}")).unwrap();
    let error = relay
        .send(&envelope("not an address"), &mime)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.to_string().contains("not an address"), "{error}");
    // Nothing listens on a port that was just released.
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let relay = SmtpMailer::new(&format!("smtp://{free}")).unwrap();
    let error = relay
        .send(&envelope("ana@example.com"), &mime)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_tls_is_an_error_if_tls_is_required() {
    let (port, all) = serve("250 OK").await;
    let url = format!("smtp://ana:secret@127.0.0.1:{port}?tls=required");
    let relay = SmtpMailer::new(&url).unwrap();
    let mime = mailer::mime(FROM, "ana@example.com");
    let error = relay
        .send(&envelope("ana@example.com"), &mime)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("STARTTLS"), "{error}");
    assert_eq!(all.lock().unwrap().len(), 0);
    let error = SmtpMailer::new("ftp://ana:secret@mail.example.com")
        .err()
        .unwrap();
    assert!(!error.to_string().contains("secret"), "{error}");
}
