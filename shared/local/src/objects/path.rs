//! Maps the key of an object to its path below the directory of the bucket.
//!
//! The mapping is pure and reversible, and keeps ordinary keys readable: `runs/r1/manifest.json` is
//! the file `runs/r1/manifest.json`. Names that a file system cannot hold are escaped with `%`:
//!
//! | in the key | on disk |
//! |---|---|
//! | `%`, control characters, `\ : * ? " < > \|`, a segment's first `.` | `%` and two hex digits |
//! | an empty segment | `%e` |
//! | a last segment without a dot | with `%f` after it |
//! | any other segment with a dot | with `%d` after it |
//! | a segment too long for a file name | pieces, all but the last with `%c` after them |
//!
//! The names of files and directories therefore never collide, and a key may be the prefix of
//! another one. Names that start with a dot are reserved for the store. Keys that differ only in
//! case need a case-sensitive file system.

use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

/// Longest piece of a name before its marker, in bytes. File systems allow 255; the rest is for a
/// marker and a suffix.
const PIECE_MAX: usize = 240;

/// The path of a key that is not empty.
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

/// The key with this path, if there is one.
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
    // A file that is not an object may have a name that decodes, but not the path of that key.
    (of_key(&key) == path).then_some(key)
}

/// The segment of a key that the name of a file or directory encodes, without the `/` after it.
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

/// An escaped segment, split into names that are short enough.
fn pieces(segment: &str) -> Vec<String> {
    if segment.is_empty() {
        return vec!["%e".to_owned()];
    }
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for c in segment.chars() {
        // A name with a leading dot would be hidden and reserved for the store.
        let is_first = piece.is_empty() || piece.len() + c.len_utf8() > PIECE_MAX;
        let text = if is_special(c) || (c == '.' && is_first) {
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
    fn ordinary_keys_are_their_own_paths() {
        for key in [
            "runs/20261121-reviews-0a1b2c3d4e5f/manifest.json",
            "reviews/my file (1)+ü.xlsx",
            "a/b/c.jsonl.gz",
        ] {
            assert_eq!(of_key(key), Path::new(key));
        }
    }

    #[test]
    fn unusual_keys_are_escaped() {
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
    fn files_that_are_not_objects_have_no_key() {
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
        fn every_key_has_a_unique_safe_path(
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
