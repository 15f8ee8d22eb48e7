//! Digest authentication (RFC 7616): the algorithms MD5 and SHA-256, with and without sessions, and the
//! quality `auth`. Rowmill has its own, because the crate for it is not maintained.

use std::sync::{Mutex, MutexGuard};

use md5::Md5;
use reqwest::header::WWW_AUTHENTICATE;
use sha2::{Digest as _, Sha256};
use url::Position;

use crate::http::request::Request;
use crate::http::response::HttpResponse;

pub(in crate::http) struct Digest {
    user: String,
    password: String,
    /// The last challenge, and how often it was answered.
    challenge: Mutex<Option<(Challenge, u32)>>,
}

/// What a server asks for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Option<String>,
    is_sha256: bool,
    is_session: bool,
    has_auth: bool,
}

impl Digest {
    pub(super) fn new(user: String, password: String) -> Digest {
        Digest {
            user,
            password,
            challenge: Mutex::new(None),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(Challenge, u32)>> {
        match self.challenge.lock() {
            Ok(challenge) => challenge,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Takes the challenge of a response. Returns whether there is one.
    pub(super) fn challenge(&self, response: &HttpResponse) -> bool {
        let values = response.headers.get_all(WWW_AUTHENTICATE).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let challenges = values.flat_map(challenges);
        // SHA-256 if the server offers both.
        let best = challenges.max_by_key(|challenge| challenge.is_sha256);
        let is_some = best.is_some();
        if let Some(best) = best {
            *self.last() = Some((best, 0));
        }
        is_some
    }

    /// The header for a request. `None`: the server has not asked yet.
    pub(super) fn header(&self, request: &Request) -> Option<String> {
        let (challenge, count) = {
            let mut last = self.last();
            let (challenge, count) = last.as_mut()?;
            *count += 1;
            (challenge.clone(), *count)
        };
        let uri = &request.url[Position::BeforePath..Position::AfterQuery];
        let client_nonce = format!("{:032x}", rand::random::<u128>());
        Some(self.answer(
            &challenge,
            request.method.as_str(),
            uri,
            count,
            &client_nonce,
        ))
    }

    fn answer(
        &self,
        challenge: &Challenge,
        method: &str,
        uri: &str,
        count: u32,
        client_nonce: &str,
    ) -> String {
        let hash = |text: String| match challenge.is_sha256 {
            true => hex(&Sha256::digest(text)),
            false => hex(&Md5::digest(text)),
        };
        let Challenge { realm, nonce, .. } = challenge;
        let mut user = hash(format!("{}:{realm}:{}", self.user, self.password));
        if challenge.is_session {
            user = hash(format!("{user}:{nonce}:{client_nonce}"));
        }
        let request = hash(format!("{method}:{uri}"));
        let response = match challenge.has_auth {
            true => hash(format!(
                "{user}:{nonce}:{count:08x}:{client_nonce}:auth:{request}"
            )),
            // RFC 2069.
            false => hash(format!("{user}:{nonce}:{request}")),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut header = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\"",
            quoted(&self.user),
            quoted(realm),
            quoted(nonce),
        );
        if let Some(algorithm) = &challenge.algorithm {
            header += &format!(", algorithm={algorithm}");
        }
        if challenge.has_auth {
            header += &format!(", qop=auth, nc={count:08x}");
        }
        if challenge.has_auth || challenge.is_session {
            header += &format!(", cnonce=\"{client_nonce}\"");
        }
        if let Some(opaque) = &challenge.opaque {
            header += &format!(", opaque=\"{}\"", quoted(opaque));
        }
        header
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The challenges in a header that can be answered.
fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Option<Challenge>> = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let end = rest.find(['=', ' ', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=').filter(|_| !name.is_empty()) else {
            // A scheme starts the next challenge.
            if !name.is_empty() {
                let is_digest = name.eq_ignore_ascii_case("digest");
                found.push(is_digest.then(Challenge::default));
            }
            rest = match name.is_empty() {
                true => rest.get(1..).unwrap_or_default(),
                false => after,
            };
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        rest = after;
        let Some(Some(challenge)) = found.last_mut() else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "realm" => challenge.realm = value,
            "nonce" => challenge.nonce = value,
            "opaque" => challenge.opaque = Some(value),
            "qop" => {
                challenge.has_auth = value
                    .split(',')
                    .any(|q| q.trim().eq_ignore_ascii_case("auth"));
                // Only `auth-int`, which includes the body.
                if !challenge.has_auth {
                    found.pop();
                    found.push(None);
                }
            }
            "algorithm" => {
                let upper = value.to_ascii_uppercase();
                challenge.is_session = upper.ends_with("-SESS");
                let base = upper.trim_end_matches("-SESS");
                challenge.is_sha256 = base == "SHA-256";
                challenge.algorithm = Some(value);
                if !matches!(base, "MD5" | "SHA-256") {
                    found.pop();
                    found.push(None);
                }
            }
            _ => {}
        }
    }
    found
        .into_iter()
        .flatten()
        .filter(|c| !c.nonce.is_empty())
        .collect()
}

/// The value at the start of a text, a token or a quoted string, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7616, section 3.9.1, and of RFC 2617, section 3.5.
    #[test]
    fn answers_are_those_of_the_standards() {
        let header = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
            Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let header = header.replace('\n', " ");
        let found = challenges(&header);
        assert_eq!(found.len(), 2);
        let digest = Digest::new("Mufasa".into(), "Circle of Life".into());
        let nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let of = |challenge| digest.answer(challenge, "GET", "/dir/index.html", 1, nonce);
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(of(&found[0]).contains(&format!("response=\"{expected}\"")));
        let md5 = of(&found[1]);
        assert!(
            md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""),
            "{md5}"
        );
        assert!(md5.contains("uri=\"/dir/index.html\", ") && md5.contains("qop=auth, nc=00000001"));
        let old = challenges(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let digest = Digest::new("Mufasa".into(), "Circle Of Life".into());
        let answer = digest.answer(&old[0], "GET", "/dir/index.html", 1, "0a4f113b");
        assert!(
            answer.contains("response=\"6629fae49393a05397450978507c4ef1\""),
            "{answer}"
        );
    }

    #[test]
    fn other_challenges_are_ignored() {
        for header in [
            "",
            "Basic realm=\"x\"",
            "Bearer",
            "Digest",
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256",
            "= , ==\"",
        ] {
            assert_eq!(challenges(header), [], "{header}");
        }
        let found = challenges("Basic realm=\"a, Digest b\", digest nonce = \"n\\\"1\" , realm=r");
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].nonce, &*found[0].realm), ("n\"1", "r"));
    }
}
