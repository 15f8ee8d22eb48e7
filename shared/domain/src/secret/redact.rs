//! Finds values in texts, in the forms that they come back in.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Secrets;

/// What stands where a text was cut short.
const CUT: &str = "...";
/// Fewest characters of a value before a cut that give something away.
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
    // Of those that overlap, one after the other goes, and what they cover together with it.
    found.sort_by_key(|(at, _)| (at.start, usize::MAX - at.end));
    let mut told = String::with_capacity(text.len());
    let mut end = 0;
    for (at, name) in found {
        if at.start >= end {
            told.push_str(&text[end..at.start]);
            told.push_str("[secret ");
            told.push_str(name);
            told.push(']');
        }
        end = end.max(at.end);
    }
    told.push_str(&text[end..]);
    Cow::Owned(told)
}

/// Where a value stands character by character, each as it is or encoded.
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

/// How much of `text` is `value`, from its start, after `matched` characters of it were found;
/// up to a cut where some of it was.
fn consume(text: &str, value: &str, mut matched: usize) -> Option<usize> {
    let (mut rest, mut left) = (text, value.chars());
    while let Some(c) = left.next() {
        let (plain, encoded) = (plain(rest, c), encoded(rest, c));
        let step = match (plain, encoded) {
            (Some(plain), Some(encoded)) => {
                // `%25` may be a `%` or these three characters.
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

/// The length of a character as it is. Line ends and tabs are spaces in a cell.
fn plain(text: &str, c: char) -> Option<usize> {
    let found = text.chars().next()?;
    (found == c || (found == ' ' && c.is_control())).then(|| found.len_utf8())
}

/// The length of a character's encoded form, where it stands there in one: percent-encoded, or
/// escaped for JSON or HTML.
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

/// Where a value stands within base64: the whole run, since what is around it (as the user's name
/// in Basic authentication) shifts it by one or two bytes and shares characters with it.
fn base64(text: &str, value: &str) -> Vec<Range<usize>> {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_=".contains(b);
    let mut cores = Vec::with_capacity(6);
    for shift in 0..3 {
        let shifted = [&[0; 2][..shift], value.as_bytes()].concat();
        // The characters that hold bits of the value alone.
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
    fn every_form_is_found() {
        let secrets = one("p&ss \"w/ö%41");
        for text in [
            "p&ss \"w/ö%41",
            "p%26ss%20%22w%2F%C3%B6%2541",
            "p%26ss+%22w%2f%c3%b6%2541",
            r#"p&ss \"w\/\u00f6%41"#,
            "p&amp;ss &quot;w/&#246;%41",
            "p&amp;ss &#x22;w/ö%41",
        ] {
            let told = secrets.redact(text).into_owned();
            assert_eq!(told, "[secret KEY]", "{text}");
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
    fn base64_in_any_position_is_found() {
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
    fn what_a_cut_leaves_is_found() {
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
    fn one_within_another_leaves_nothing() {
        let secrets: Secrets = [("A", "longer-secret"), ("B", "secret"), ("C", "secret-x")]
            .into_iter()
            .collect();
        assert_eq!(secrets.redact("a longer-secret-x b"), "a [secret A] b");
        assert_eq!(secrets.redact("a secret b"), "a [secret B] b");
    }

    proptest! {
        #[test]
        fn no_value_comes_through(value in "\\PC{4,20}", before in "\\PC{0,9}", after in "\\PC{0,9}") {
            let secrets = one(&value);
            let told = secrets.redact(&format!("{before}{value}{after}")).into_owned();
            let left = told.replace("[secret KEY]", "\u{1}");
            prop_assert!(!left.contains(&value), "{told}");
        }
    }
}
