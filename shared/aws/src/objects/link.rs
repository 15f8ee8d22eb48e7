use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 5987, `attr-char`, takes as it is, beside letters and digits.
const EXT_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The `Content-Disposition` that has a browser save a file under that name (RFC 6266): the name
/// itself for those that read `filename*`, and one of ASCII for the others.
pub(super) fn attachment(file_name: &str) -> String {
    let plain = |c: char| match c {
        // A quote or a backslash would end the text or escape; a percent sign is decoded by some.
        '"' | '\\' | '%' | '/' => '_',
        ' '..='~' => c,
        _ => '_',
    };
    let ascii: String = file_name.chars().map(plain).collect();
    let name = utf8_percent_encode(file_name, EXT_VALUE);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_twice() {
        assert_eq!(
            attachment("reviews-result.xlsx"),
            "attachment; filename=\"reviews-result.xlsx\"; filename*=UTF-8''reviews-result.xlsx"
        );
        assert_eq!(
            attachment("my file (1)+ü \"q\".xlsx"),
            "attachment; filename=\"my file (1)+_ _q_.xlsx\"; \
             filename*=UTF-8''my%20file%20%281%29+%C3%BC%20%22q%22.xlsx"
        );
        assert!(!attachment("a\r\nSet-Cookie: b").contains(['\r', '\n']));
    }
}
