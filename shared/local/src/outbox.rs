//! Mail without SES: files, or a relay.

use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport, Tokio1Executor};
use rowmill_ports::{Envelope, ErrorKind, Mailer, PortError, Result};
use url::{Host, Url};

use crate::LocalError;

/// A directory of `.eml` files, which any mail program opens. A mail sent again (same
/// Message-ID) replaces its file, so that a second delivery shows as one.
pub struct EmlOutbox {
    directory: PathBuf,
}

impl EmlOutbox {
    /// Opens the directory, creating it where it is absent.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(directory: &Path) -> std::result::Result<EmlOutbox, LocalError> {
        fs::create_dir_all(directory).map_err(LocalError::file(directory))?;
        Ok(EmlOutbox {
            directory: directory.to_owned(),
        })
    }

    /// Where the mail with that id is, or will be.
    pub fn path(&self, id: &str) -> PathBuf {
        let name: String = id
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.@".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        // A name that starts with a dot is hidden.
        self.directory
            .join(format!("{}.eml", name.trim_start_matches('.')))
    }
}

#[async_trait]
impl Mailer for EmlOutbox {
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        envelope.check(mime)?;
        let id = message_id(mime);
        let (path, mime) = (self.path(&id), mime.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            write(&path, &mime).map_err(LocalError::file(&path))
        });
        match written.await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(error)) => Err(envelope.error(ErrorKind::Unavailable, error)),
            Err(panicked) => Err(envelope.error(ErrorKind::Unavailable, panicked)),
        }
    }
}

/// Writes the file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{:016x}.part", rand::random::<u64>()));
    let mut file = File::create_new(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// An SMTP relay.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpMailer {
    /// Sends by the relay at `url`: `smtps://user:password@host` (TLS from the start) or
    /// `smtp://user:password@host:587` (STARTTLS, required). Name and password are
    /// percent-encoded. On this very machine (`localhost`, 127.0.0.1, `[::1]`) `smtp://` goes
    /// without TLS. Nothing is connected yet.
    ///
    /// # Errors
    /// The URL is not one of these.
    pub fn new(url: &str) -> Result<SmtpMailer> {
        let invalid = |message: String| {
            // The URL holds a password: it is not repeated.
            PortError::new("Connect", "the mail relay", ErrorKind::Invalid, message)
        };
        let url = with_tls(url).map_err(invalid)?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str())
            .map_err(|e| invalid(reasons(&e)))?;
        Ok(SmtpMailer {
            transport: builder.build(),
        })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    /// The id is the mail's Message-ID: relays give none that could be asked for.
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        envelope.check(mime)?;
        let invalid = |error: String| envelope.error(ErrorKind::Invalid, error);
        let address = |text: &String| {
            text.parse::<lettre::Address>()
                .map_err(|error| invalid(format!("`{text}`: {error}")))
        };
        let from = address(&envelope.from)?;
        let to = envelope.to.iter().map(address).collect::<Result<_>>()?;
        let smtp = lettre::address::Envelope::new(Some(from), to)
            .map_err(|error| invalid(error.to_string()))?;
        // The end of data begins with a line's end, which the mail has already.
        let mime_text = mime.strip_suffix(b"\r\n").unwrap_or(mime);
        match self.transport.send_raw(&smtp, mime_text).await {
            Ok(_) => Ok(message_id(mime)),
            Err(error) => {
                let code = error.status().map(u16::from);
                let kind = match code {
                    // RFC 4954: authentication required, failed, too weak.
                    Some(530 | 534 | 535) => ErrorKind::Denied,
                    Some(500..) => ErrorKind::Invalid,
                    // What the relay offers does not do: STARTTLS, a way to authenticate.
                    _ if error.is_client() => ErrorKind::Invalid,
                    _ => ErrorKind::Unavailable,
                };
                Err(envelope.error(kind, reasons(&error)))
            }
        }
    }
}

/// The relay's URL, with TLS required where the mail leaves this machine; or why it is none.
fn with_tls(url: &str) -> std::result::Result<Url, String> {
    let mut url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
    let is_local = match url.host() {
        // Only the web's own schemes have their addresses read as such.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("the URL names no host".to_owned()),
    };
    match url.scheme() {
        "smtps" => {}
        "smtp" if is_local => {}
        "smtp" => url.set_query(Some("tls=required")),
        other => return Err(format!("`{other}` is neither smtp nor smtps")),
    }
    Ok(url)
}

/// An error with its causes.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The mail's Message-ID without its brackets; the hash of a mail that has none.
fn message_id(mime: &[u8]) -> String {
    let text = String::from_utf8_lossy(header(mime));
    // A header goes on in lines that start with white space.
    let unfolded = text
        .replace("\r\n", "\n")
        .replace("\n ", " ")
        .replace("\n\t", " ");
    let id = unfolded.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().trim_start_matches('<').trim_end_matches('>');
        (name.eq_ignore_ascii_case("message-id") && !value.is_empty()).then(|| value.to_owned())
    });
    id.unwrap_or_else(|| blake3::hash(mime).to_string())
}

/// The header: all before the first empty line.
fn header(mime: &[u8]) -> &[u8] {
    let end = |blank: &[u8]| mime.windows(blank.len()).position(|w| w == blank);
    let length = [end(b"\r\n\r\n"), end(b"\n\n")].into_iter().flatten().min();
    &mime[..length.unwrap_or(mime.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_leaves_this_machine_only_with_tls() {
        for (url, expected) in [
            (
                "smtp://a:b@mail.example.com",
                "smtp://a:b@mail.example.com?tls=required",
            ),
            ("smtp://192.0.2.1:587", "smtp://192.0.2.1:587?tls=required"),
            (
                "smtp://mail.example.com?tls=opportunistic",
                "smtp://mail.example.com?tls=required",
            ),
            ("smtps://mail.example.com", "smtps://mail.example.com"),
            ("smtp://localhost:25", "smtp://localhost:25"),
            ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("smtp://[::1]:2525", "smtp://[::1]:2525"),
        ] {
            assert_eq!(with_tls(url).map(String::from), Ok(expected.to_owned()));
        }
        for bad in [
            "http://mail.example.com",
            "mail.example.com",
            "smtp:",
            "smtp://",
            "",
        ] {
            assert!(with_tls(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_message_id_is_read_from_the_header_alone() {
        for (mime, id) in [
            ("Subject: x\r\nMessage-ID: <a@b>\r\n\r\nbody", "a@b"),
            ("message-id:\r\n <a@b>\r\nSubject: x\r\n\r\n", "a@b"),
            ("MESSAGE-ID: <a@b>\n\nbody", "a@b"),
        ] {
            assert_eq!(message_id(mime.as_bytes()), id);
        }
        let none = b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n";
        assert_eq!(message_id(none), blake3::hash(none).to_string());
    }
}
