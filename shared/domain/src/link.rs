//! Links to results in mail: signed tokens.
//!
//! A link that is signed with the credentials of a role expires with them, within hours. A link in a
//! mail therefore points to the API and contains a token that names a run, an object and an expiry.
//! On each click the API signs a short-lived link to the object.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::keys;
use crate::run::RunId;

/// How long a link in an email is valid, in days.
pub const LINK_DAYS: i64 = 14;
/// How long the link to the object is valid after a click, in seconds: enough to start a download.
pub const CLICK_SECONDS: u64 = 5 * 60;

/// The first part of a token: the version of its format.
const VERSION: &str = "v1";
/// Domain separation: keeps this use of the key distinct from others.
const PURPOSE: &[u8] = b"rowmill link v1\0";
/// The length of the expiry in bytes: seconds since 1970, big-endian.
const EXPIRY_BYTES: usize = 8;
/// The shortest key, in bytes: the length of the MAC. Source: RFC 2104, section 3.
const KEY_MIN: usize = 32;

/// The key that signs tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey(Vec<u8>);

/// The key is too short.
#[derive(Debug, thiserror::Error)]
#[error("the key for links has {0} bytes; it must have at least {KEY_MIN} random bytes")]
pub struct LinkKeyError(usize);

impl LinkKey {
    /// Creates a key from at least 32 random bytes.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn new(bytes: Vec<u8>) -> Result<LinkKey, LinkKeyError> {
        match bytes.len() {
            0..KEY_MIN => Err(LinkKeyError(bytes.len())),
            _ => Ok(LinkKey(bytes)),
        }
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// The content of a token: permission to download one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The run.
    pub run: RunId,
    /// The key of the object in the work bucket, under the results of the run.
    pub object: String,
    /// When the permission ends.
    pub expires: DateTime<Utc>,
}

/// Why a token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is not a token of this version.
    #[error("not a token")]
    Malformed,
    /// It was signed with another key, or it was changed.
    #[error("not signed with the key")]
    Forged,
    /// It has expired.
    #[error("expired")]
    Expired,
}

impl Link {
    /// Returns the token: `v1.<payload>.<HMAC-SHA256 of the payload>`, both in base64url without
    /// padding. The payload is the expiry (8 bytes), the run, a zero byte and the key of the object.
    pub fn sign(&self, key: &LinkKey) -> String {
        // No link expires before 1970.
        let expires = u64::try_from(self.expires.timestamp()).unwrap_or(0);
        let mut payload = expires.to_be_bytes().to_vec();
        payload.extend_from_slice(self.run.as_str().as_bytes());
        payload.push(0);
        payload.extend_from_slice(self.object.as_bytes());
        let tag = mac(key, &payload).finalize().into_bytes();
        format!(
            "{VERSION}.{}.{}",
            URL_SAFE_NO_PAD.encode(&payload),
            URL_SAFE_NO_PAD.encode(tag)
        )
    }

    /// Returns the content of a valid token. The signature is checked first, in constant time.
    ///
    /// # Errors
    /// The token is malformed, was not signed with `key`, or has expired at `now`.
    pub fn verify(token: &str, key: &LinkKey, now: DateTime<Utc>) -> Result<Link, LinkError> {
        let mut parts = token.split('.');
        let (Some(VERSION), Some(payload), Some(tag), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(LinkError::Malformed);
        };
        let decode = |text| {
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|_| LinkError::Malformed)
        };
        let (payload, tag) = (decode(payload)?, decode(tag)?);
        mac(key, &payload)
            .verify_slice(&tag)
            .map_err(|_| LinkError::Forged)?;
        let link = read(&payload).ok_or(LinkError::Malformed)?;
        match now < link.expires {
            true => Ok(link),
            false => Err(LinkError::Expired),
        }
    }
}

fn mac(key: &LinkKey, payload: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("a key of any length");
    mac.update(PURPOSE);
    mac.update(payload);
    mac
}

/// Reads a payload with a valid signature. `None`: another program with the same key signed it.
fn read(payload: &[u8]) -> Option<Link> {
    let (expires, names) = payload.split_first_chunk::<EXPIRY_BYTES>()?;
    let (run, object) = std::str::from_utf8(names).ok()?.split_once('\0')?;
    let run: RunId = run.parse().ok()?;
    // A token must not give access to other objects.
    object
        .starts_with(&keys::results_prefix(&run))
        .then_some(())?;
    Some(Link {
        run,
        object: object.to_owned(),
        expires: DateTime::from_timestamp(i64::try_from(u64::from_be_bytes(*expires)).ok()?, 0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> LinkKey {
        LinkKey::new(vec![byte; 32]).unwrap()
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn link() -> Link {
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        Link {
            object: keys::result(&run, "reviews/my file (1)+ü.xlsx"),
            run,
            expires: at("2026-12-05T10:00:00Z"),
        }
    }

    #[test]
    fn a_signed_link_reads_back_until_it_expires() {
        let token = link().sign(&key(1));
        let read = |now| Link::verify(&token, &key(1), at(now));
        assert_eq!(read("2026-11-21T10:00:00Z"), Ok(link()));
        assert_eq!(read("2026-12-05T09:59:59Z"), Ok(link()));
        assert_eq!(read("2026-12-05T10:00:00Z"), Err(LinkError::Expired));
        let url = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(token.chars().all(url), "{token}");
        // Mail programs that turn text into links exclude punctuation at the end.
        assert!(token.ends_with(|c: char| c.is_ascii_alphanumeric()));
    }

    #[test]
    fn the_token_format_is_stable() {
        // Links in mail that was sent must work in later versions.
        // Created with Python's base64 and hmac.
        let token = "v1.AAAAAGsT4KAyMDI2MTEyMS1yZXZpZXdzLTAxMjM0NTY3ODlhYgByZXN1bHRzLzIwMjYxMTIxLXJldmlld3MtMDEy\
            MzQ1Njc4OWFiL215IGZpbGUgKDEpK8O8LXJlc3VsdC54bHN4.F0rc_5uO4RIQRkPyhFfP3aTDgji4KsKmUYgQlTZtPK0";
        assert_eq!(link().sign(&key(1)), token);
    }

    #[test]
    fn changed_tokens_are_refused() {
        let now = at("2026-11-21T10:00:00Z");
        let token = link().sign(&key(1));
        assert_eq!(
            Link::verify(&token, &key(2), now),
            Err(LinkError::Forged),
            "another key"
        );
        for place in 3..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Link::verify(&changed, &key(1), now).is_err(), "{changed}");
        }
        let longer = Link {
            expires: at("2036-12-05T10:00:00Z"),
            ..link()
        };
        let (theirs, ours) = (longer.sign(&key(2)), link().sign(&key(1)));
        let payload = theirs.rsplit_once('.').unwrap().0;
        let tag = ours.rsplit_once('.').unwrap().1;
        let forged = format!("{payload}.{tag}");
        assert_eq!(Link::verify(&forged, &key(1), now), Err(LinkError::Forged));
        for none in [
            "",
            "v1",
            "v1..",
            "v2.AA.AA",
            "v1.AA.AA.AA",
            "v1.ä.ä",
            "..",
            "v1.A=.AA",
        ] {
            let error = Link::verify(none, &key(1), now).unwrap_err();
            assert_ne!(error, LinkError::Expired, "{none}");
        }
    }

    #[test]
    fn only_results_of_the_run_can_be_downloaded() {
        for object in [
            "pipelines/reviews.toml",
            "results/20261121-other-0123456789ab/a.xlsx",
        ] {
            let link = Link {
                object: object.to_owned(),
                ..link()
            };
            let token = link.sign(&key(1));
            let read = Link::verify(&token, &key(1), at("2026-11-21T10:00:00Z"));
            assert_eq!(read, Err(LinkError::Malformed), "{object}");
        }
    }

    #[test]
    fn a_key_is_long_and_is_not_printed() {
        assert!(LinkKey::new(vec![7; 31]).is_err());
        assert_eq!(format!("{:?}", key(7)), "LinkKey(..)");
    }
}
