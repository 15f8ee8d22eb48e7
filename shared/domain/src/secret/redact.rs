//! Finds the values of secrets in texts, plain or encoded.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Secrets;

/// The mark of a truncated text.
const CUT: &str = "...";
/// The shortest start of a value before a truncation that is redacted, in characters.
const CUT_MIN: usize = 3;

/// See [`Secrets::redact`].
pub(super) fn redact<'t>(secrets: &Secrets, text: &'t str) -> Cow<'t, str> {
    let mut found: Vec<(Range<usize>, &str)> = Vec::new();
    for (name, value) in secrets.iter().filter(|(_, value)| !value.is_empty()) {
        let places = literal(text, value).into_iter().chain(base64(text, value));
        found.extend(places.map(|at| (at, name)));
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    // Overlapping ranges are replaced as one.
    found.sort_by_key(|(at, _)| (at.start, usize::MAX - at.end));
    let mut redacted = String::with_capacity(text.len());
    let mut end = 0;
    for (at, name) in found {
        if at.start >= end {
            redacted.push_str(&text[end..at.start]);
            redacted.push_str("[secret ");
            redacted.push_str(name);
            redacted.push(']');
        }
        end = end.max(at.end);
    }
    redacted.push_str(&text[end..]);
    Cow::Owned(redacted)
}

/// Returns the ranges of a value, with each character plain or encoded.
fn literal(text: &str, value: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let Some(first) = rest.chars().next() else {
            break;
        };
        match consume(rest, value, 0) {
            Some(length) => {
                found.push(from..from + length);
                from += length;
            }
            None => from += first.len_utf8(),
        }
    }
    found
}

/// Returns the length of `value` at the start of `text`, or of its start up to a truncation. `matched`
/// characters of the value precede.
fn consume(text: &str, value: &str, mut matched: usize) -> Option<usize> {
    let (mut rest, mut left) = (text, value.chars());
    while let Some(c) = left.next() {
        let (plain, encoded) = (plain(rest, c), encoded(rest, c));
        let step = match (plain, encoded) {
            (Some(plain), Some(encoded)) => {
                // `%25` is either an encoded `%` or these three characters.
                let before = text.len() - rest.len();
                let tail = consume(&rest[encoded..], left.as_str(), matched + 1);
                if let Some(tail) = tail {
                    return Some(before + encoded + tail);
                }
                plain
            }
            (Some(step), None) | (None, Some(step)) => step,
            (None, None) if matched >= CUT_MIN && rest.starts_with(CUT) => break,
            (None, None) => return None,
        };
        rest = &rest[step..];
        matched += 1;
    }
    Some(text.len() - rest.len())
}

/// Returns the length of a plain character. Line breaks and tabs become spaces in a cell.
fn plain(text: &str, c: char) -> Option<usize> {
    let found = text.chars().next()?;
    (found == c || (found == ' ' && c.is_control())).then(|| found.len_utf8())
}

/// Returns the length of an encoded character: percent-encoded, or escaped for JSON or HTML.
fn encoded(text: &str, c: char) -> Option<usize> {
    let starts = |form: &str| {
        let head = text.get(..form.len())?;
        head.eq_ignore_ascii_case(form).then_some(form.len())
    };
    match text.as_bytes().first()? {
        b'%' => {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            starts(&bytes.map(|b| format!("%{b:02X}")).collect::<String>())
        }
        b'+' if c == ' ' => Some(1),
        b'\\' => {
            let short = match c {
                '"' | '\\' | '/' => Some(c),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            if short.is_some() && text[1..].chars().next() == short {
                return Some(2);
            }
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units).iter();
            starts(&units.map(|u| format!("\\u{u:04x}")).collect::<String>())
        }
        b'&' => {
            let name = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&apos;",
                _ => "",
            };
            let number = u32::from(c);
            let mut forms = vec![format!("&#{number};"), format!("&#x{number:x};")];
            if !name.is_empty() {
                forms.push(name.to_owned());
            }
            forms.iter().find_map(|form| starts(form))
        }
        _ => None,
    }
}

/// Returns the ranges of base64 that contain a value. The whole run is included, because the bytes
/// around the value (the user name in Basic authentication) shift it and share characters with it.
fn base64(text: &str, value: &str) -> Vec<Range<usize>> {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_=".contains(b);
    let mut cores = Vec::with_capacity(6);
    for shift in 0..3 {
        let shifted = [&[0; 2][..shift], value.as_bytes()].concat();
        // The characters that hold only bits of the value.
        let inner = (shift * 8).div_ceil(6)..shifted.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            cores.push(engine.encode(&shifted)[inner.clone()].to_owned());
        }
    }
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let length = bytes[from..].iter().take_while(|b| is_base64(b)).count();
        if length == 0 {
            from += 1;
            continue;
        }
        let run = from..from + length;
        let cut = text[run.end..].starts_with(CUT);
        let holds = |core: &String| {
            let end = |n: usize| text[run.clone()].ends_with(&core[..n]);
            text[run.clone()].contains(core.as_str()) || (cut && (4..core.len()).any(end))
        };
        if cores.iter().any(holds) {
            found.push(run.clone());
        }
        from = run.end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(value: &str) -> Secrets {
        [("KEY", value)].into_iter().collect()
    }

    #[test]
    fn every_encoding_of_a_value_is_redacted() {
        let secrets = one("p&ss \"w/ö%41");
        for text in [
            "p&ss \"w/ö%41",
            "p%26ss%20%22w%2F%C3%B6%2541",
            "p%26ss+%22w%2f%c3%b6%2541",
            r#"p&ss \"w\/\u00f6%41"#,
            "p&amp;ss &quot;w/&#246;%41",
            "p&amp;ss &#x22;w/ö%41",
        ] {
            let redacted = secrets.redact(text).into_owned();
            assert_eq!(redacted, "[secret KEY]", "{text}");
            let around = format!("<{text}> and {text}.");
            assert_eq!(
                secrets.redact(&around),
                "<[secret KEY]> and [secret KEY].",
                "{text}"
            );
        }
        assert_eq!(one("a%25b").redact("x a%25b y"), "x [secret KEY] y");
        assert_eq!(one("line\nend").redact("line end"), "[secret KEY]");
        assert_eq!(secrets.redact("p&ss word"), "p&ss word");
    }

    #[test]
    fn base64_is_redacted_at_any_offset() {
        let secrets = one("s3cr3t!");
        for user in ["", "u", "us", "user", "ü"] {
            for after in ["", "x", ":y"] {
                let text = format!("{user}:s3cr3t!{after}");
                for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    let header = format!("Basic {}==, more", engine.encode(&text));
                    assert_eq!(
                        secrets.redact(&header),
                        "Basic [secret KEY], more",
                        "{text}"
                    );
                }
            }
        }
        assert_eq!(secrets.redact("c29tZXRoaW5n"), "c29tZXRoaW5n");
    }

    #[test]
    fn truncated_values_are_redacted() {
        let secrets = one("abcdefgh12");
        assert_eq!(secrets.redact("key abcdef..."), "key [secret KEY]...");
        assert_eq!(secrets.redact("key abcdefgh12..."), "key [secret KEY]...");
        assert_eq!(secrets.redact("key ab... x"), "key ab... x");
        assert_eq!(secrets.redact("key abcdef, more"), "key abcdef, more");
        let header = STANDARD_NO_PAD.encode("user:abcdefgh12");
        let cut = format!("Basic {}...", &header[..14]);
        assert_eq!(secrets.redact(&cut), "Basic [secret KEY]...");
    }

    #[test]
    fn overlapping_secrets_are_redacted_completely() {
        let secrets: Secrets = [("A", "longer-secret"), ("B", "secret"), ("C", "secret-x")]
            .into_iter()
            .collect();
        assert_eq!(secrets.redact("a longer-secret-x b"), "a [secret A] b");
        assert_eq!(secrets.redact("a secret b"), "a [secret B] b");
    }

    proptest! {
        #[test]
        fn redacted_text_never_contains_the_value(value in "\\PC{4,20}", before in "\\PC{0,9}", after in "\\PC{0,9}") {
            let secrets = one(&value);
            let redacted = secrets.redact(&format!("{before}{value}{after}")).into_owned();
            let left = redacted.replace("[secret KEY]", "\u{1}");
            prop_assert!(!left.contains(&value), "{redacted}");
        }
    }
}
