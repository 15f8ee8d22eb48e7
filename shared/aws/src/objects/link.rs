use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters besides letters and digits that RFC 5987 (`attr-char`) allows without encoding.
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

/// The `Content-Disposition` that makes a browser save a file under `file_name` (RFC 6266): the
/// exact name in `filename*`, and an ASCII version for browsers that do not support it.
pub(super) fn attachment(file_name: &str) -> String {
    let plain = |c: char| match c {
        // A quote or a backslash would end or escape the text. Some browsers decode percent signs.
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
    fn the_name_appears_exactly_and_in_ascii() {
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
