//! Where an object of a key lies below its bucket's directory.
//!
//! A pure, reversible mapping that keeps ordinary keys readable: `runs/r1/manifest.json` is the
//! file `runs/r1/manifest.json`. What a file system cannot hold is written with `%`:
//!
//! | in the key | on disk |
//! |---|---|
//! | `%`, control characters, `\ : * ? " < > \|`, a segment's first `.` | `%` and two hex digits |
//! | an empty segment | `%e` |
//! | a last segment without a dot | with `%f` after it |
//! | any other segment with a dot | with `%d` after it |
//! | a segment too long for a file name | pieces, all but the last with `%c` after them |
//!
//! So the names of files and of directories never meet, and a key may be another one's prefix.
//! Names that start with a dot stay free for the store's own. Two keys that differ only in case
//! need a file system that tells case apart.

use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

/// Longest piece of a name before its marker, in bytes: file systems take 255, and 240 leaves
/// room for a marker and for a suffix.
const PIECE_MAX: usize = 240;

/// The path below the bucket's directory; for a key that is not empty.
pub(super) fn of_key(key: &str) -> PathBuf {
    let mut path = PathBuf::new();
    let mut segments = key.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_file = segments.peek().is_none();
        let mut pieces = pieces(segment);
        let last = pieces.pop().unwrap_or_default();
        path.extend(pieces.iter().map(|piece| format!("{piece}%c")));
        let marker = match (is_file, segment.contains('.')) {
            (true, false) => "%f",
            (false, true) => "%d",
            (true, true) | (false, false) => "",
        };
        path.push(format!("{last}{marker}"));
    }
    path
}

/// The key whose path this is, if it is one's.
pub(super) fn key_of(path: &Path) -> Option<String> {
    let mut key = String::new();
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return None;
        };
        key.push_str(&segment_of(name.to_str()?)?);
        if names.peek().is_some() && !name.as_encoded_bytes().ends_with(b"%c") {
            key.push('/');
        }
    }
    // Files that others laid here may decode and yet be no key's.
    (of_key(&key) == path).then_some(key)
}

/// The part of a key that a file's or directory's name stands for, without the `/` after it.
pub(super) fn segment_of(name: &str) -> Option<String> {
    let name = ["%f", "%d", "%c"]
        .iter()
        .find_map(|marker| name.strip_suffix(marker))
        .unwrap_or(name);
    if name == "%e" {
        return Some(String::new());
    }
    let segment = percent_decode_str(name).decode_utf8().ok()?;
    Some(segment.into_owned())
}

/// A segment as it is written, cut into names that are short enough.
fn pieces(segment: &str) -> Vec<String> {
    if segment.is_empty() {
        return vec!["%e".to_owned()];
    }
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for c in segment.chars() {
        // A name that began with a dot would be hidden, and taken for the store's own.
        let leads = piece.is_empty() || piece.len() + c.len_utf8() > PIECE_MAX;
        let text = if is_special(c) || (c == '.' && leads) {
            format!("%{:02X}", u32::from(c))
        } else {
            c.to_string()
        };
        if piece.len() + text.len() > PIECE_MAX {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.push_str(&text);
    }
    pieces.push(piece);
    pieces
}

fn is_special(c: char) -> bool {
    c.is_ascii_control() || "%\\:*?\"<>|".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_keys_are_their_paths() {
        for key in [
            "runs/20261121-reviews-0a1b2c3d4e5f/manifest.json",
            "reviews/my file (1)+ü.xlsx",
            "a/b/c.jsonl.gz",
        ] {
            assert_eq!(of_key(key), Path::new(key));
        }
    }

    #[test]
    fn awkward_keys() {
        for (key, path) in [
            ("a", "a%f"),
            ("a/b", "a/b%f"),
            ("a.b/c", "a.b%d/c%f"),
            ("a/", "a/%e%f"),
            ("a//b.c", "a/%e/b.c"),
            ("/", "%e/%e%f"),
            ("../x", "%2E.%d/x%f"),
            ("./.hidden", "%2E%d/%2Ehidden"),
            ("a\\b:c%41.x", "a%5Cb%3Ac%2541.x"),
            ("a%f", "a%25f%f"),
            ("line\nbreak.x", "line%0Abreak.x"),
        ] {
            assert_eq!(of_key(key), Path::new(path), "{key:?}");
            assert_eq!(key_of(Path::new(path)).as_deref(), Some(key));
        }
    }

    #[test]
    fn what_others_laid_here_is_no_object() {
        for path in [
            "plain",
            "a.b/c.d",
            "x%f/y.z",
            "%zz.x",
            ".store/lock",
            "/etc/x.y",
            "a%41.x",
        ] {
            assert_eq!(key_of(Path::new(path)), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_safe_path_of_its_own(
            key in r"([a-c./%ü\\ ]{0,8}|\PC{0,300}|[.a]{230,500}){1,3}",
        ) {
            prop_assume!(!key.is_empty());
            let path = of_key(&key);
            for name in path.components() {
                let Component::Normal(name) = name else { panic!("{path:?}") };
                let name = name.to_str().unwrap();
                prop_assert!(!name.is_empty() && !name.starts_with('.') && name.len() <= 255);
            }
            prop_assert_eq!(key_of(&path), Some(key));
        }
    }
}
