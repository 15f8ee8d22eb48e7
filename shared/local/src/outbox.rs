//! Mail without SES: `.eml` files, or an SMTP relay.

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

/// How the name of a file ends that is not written to its end.
const PART: &str = "part";

/// A directory of `.eml` files, which mail programs can open. An email with the same Message-ID
/// replaces its file, so that a second delivery does not show up twice.
pub struct EmlOutbox {
    directory: PathBuf,
}

impl EmlOutbox {
    /// Opens the directory. Creates it if it does not exist, and removes partial files that killed
    /// processes left behind. At most one process may write to it.
    ///
    /// # Errors
    /// The directory cannot be created or read.
    pub fn open(directory: &Path) -> std::result::Result<EmlOutbox, LocalError> {
        fs::create_dir_all(directory).map_err(LocalError::file(directory))?;
        for entry in fs::read_dir(directory).map_err(LocalError::file(directory))? {
            let path = entry.map_err(LocalError::file(directory))?.path();
            if path.extension().is_some_and(|end| end == PART) {
                fs::remove_file(&path).map_err(LocalError::file(&path))?;
            }
        }
        Ok(EmlOutbox {
            directory: directory.to_owned(),
        })
    }

    /// The path of the email with this id.
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
        // A leading dot would hide the file.
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

    async fn is_verified(&self, _identity: &str) -> Result<bool> {
        Ok(true)
    }
}

/// Writes the file atomically.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{:016x}.{PART}", rand::random::<u64>()));
    let mut file = File::create_new(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        // Without this, a power failure can undo the rename of an email that is recorded as sent.
        .and_then(|()| match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        });
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
    /// Sends through the relay at `url`: `smtps://user:password@host` (TLS from the start) or
    /// `smtp://user:password@host:587` (STARTTLS is required). User and password are
    /// percent-encoded. For this machine (`localhost`, 127.0.0.1, `[::1]`), `smtp://` does not use
    /// TLS. Connects with the first email.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(url: &str) -> Result<SmtpMailer> {
        let invalid = |message: String| {
            // The URL contains a password, so it is not part of the message.
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
    /// The returned id is the Message-ID of the email. Relays have no id that can be queried.
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
        // The terminator of the data starts with a line end, which the email already has.
        let mime_text = mime.strip_suffix(b"\r\n").unwrap_or(mime);
        match self.transport.send_raw(&smtp, mime_text).await {
            Ok(_) => Ok(message_id(mime)),
            Err(error) => {
                let code = error.status().map(u16::from);
                let kind = match code {
                    // RFC 4954: authentication required, failed, too weak.
                    Some(530 | 534 | 535) => ErrorKind::Denied,
                    Some(500..) => ErrorKind::Invalid,
                    // The relay does not support a required feature: STARTTLS or an authentication method.
                    _ if error.is_client() => ErrorKind::Invalid,
                    _ => ErrorKind::Unavailable,
                };
                Err(envelope.error(kind, reasons(&error)))
            }
        }
    }

    async fn is_verified(&self, _identity: &str) -> Result<bool> {
        Ok(true)
    }
}

/// The URL of the relay, with TLS required if the relay is not on this machine.
///
/// # Errors
/// Why the URL is invalid.
fn with_tls(url: &str) -> std::result::Result<Url, String> {
    let mut url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
    let is_local = match url.host() {
        // The `url` crate parses addresses only for the schemes of the web.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("the URL has no host".to_owned()),
    };
    match url.scheme() {
        "smtps" => {}
        "smtp" if is_local => {}
        "smtp" => url.set_query(Some("tls=required")),
        other => return Err(format!("`{other}` is neither smtp nor smtps")),
    }
    Ok(url)
}

/// The text of an error with all its causes.
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

/// The Message-ID of an email without the brackets, or the hash of an email without one.
fn message_id(mime: &[u8]) -> String {
    let text = String::from_utf8_lossy(header(mime));
    // Lines that start with white space continue a header.
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

/// The header of an email: everything before the first empty line.
fn header(mime: &[u8]) -> &[u8] {
    let end = |blank: &[u8]| mime.windows(blank.len()).position(|w| w == blank);
    let length = [end(b"\r\n\r\n"), end(b"\n\n")].into_iter().flatten().min();
    &mime[..length.unwrap_or(mime.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_required_unless_the_relay_is_on_this_machine() {
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
    fn the_message_id_is_read_only_from_the_header() {
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
