//! References to cells and columns, such as `B12` and `XFD`.

/// The letters of a column index (from 0): `A`, `Z`, `AA`, `XFD`.
pub(crate) fn column_letters(column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        letters.push(char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

/// Parses an unsigned integer of at most 9 digits.
pub(crate) fn parse_digits(raw: &[u8]) -> Option<u32> {
    if raw.is_empty() || raw.len() > 9 {
        return None;
    }
    raw.iter().try_fold(0u32, |n, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| n * 10 + u32::from(digit))
    })
}

/// The row and column (from 0) of a reference such as `B12`.
pub(crate) fn parse_reference(raw: &[u8]) -> Option<(u32, u32)> {
    let letters = raw.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    if letters == 0 || letters > 3 {
        return None;
    }
    let column = raw[..letters].iter().fold(0u32, |n, b| {
        n * 26 + u32::from(b.to_ascii_uppercase() - b'A') + 1
    });
    let row = parse_digits(&raw[letters..])?;
    Some((row.checked_sub(1)?, column - 1))
}

/// The row and column (from 0) of a reference in a notation that Excel does not write: `$B$12`,
/// `R12C2`, with white space around it.
pub(crate) fn parse_unusual_reference(raw: &[u8]) -> Option<(u32, u32)> {
    let text: Vec<u8> = raw
        .trim_ascii()
        .iter()
        .copied()
        .filter(|b| *b != b'$')
        .collect();
    parse_reference(&text).or_else(|| {
        let [b'R' | b'r', rest @ ..] = &text[..] else {
            return None;
        };
        let at = rest.iter().position(|b| matches!(b, b'C' | b'c'))?;
        let row = parse_digits(&rest[..at])?.checked_sub(1)?;
        Some((row, parse_digits(&rest[at + 1..])?.checked_sub(1)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        for (column, letters) in [
            (0, "A"),
            (25, "Z"),
            (26, "AA"),
            (701, "ZZ"),
            (702, "AAA"),
            (16_383, "XFD"),
        ] {
            assert_eq!(column_letters(column), letters);
        }
    }

    #[test]
    fn references_parse_or_are_rejected() {
        for (text, want) in [
            ("A1", Some((0, 0))),
            ("xfd1048576", Some((1_048_575, 16_383))),
            ("AA10", Some((9, 26))),
            ("A0", None),
            ("1", None),
            ("A", None),
            ("", None),
            ("ABCD1", None),
            ("A1B", None),
            ("A99999999999", None),
        ] {
            assert_eq!(parse_reference(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn unusual_references_parse_or_are_rejected() {
        for (text, want) in [
            ("$B$12", Some((11, 1))),
            (" b12\n", Some((11, 1))),
            ("R12C2", Some((11, 1))),
            ("r1c16384", Some((0, 16_383))),
            // A column of this name, not a row.
            ("RC1", Some((0, 470))),
            ("R0C1", None),
            ("R1C", None),
            ("R[1]C[1]", None),
            ("12", None),
            ("", None),
        ] {
            assert_eq!(parse_unusual_reference(text.as_bytes()), want, "{text}");
        }
    }
}
