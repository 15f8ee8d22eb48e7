//! What the binary formats xls and xlsb have in common: their numbers, error codes and texts.

use rowmill_domain::Value;

use super::number_format::FormatKind;
use super::serial;
use super::sink::Cell;

/// The number of an RK value: an integer or the upper half of a float, possibly times 100
/// (MS-XLS 2.5.217).
pub(super) fn rk(raw: u32) -> f64 {
    let number = match raw & 2 {
        0 => f64::from_bits(u64::from(raw & !3) << 32),
        _ => f64::from((raw as i32) >> 2),
    };
    match raw & 1 {
        0 => number,
        _ => number / 100.0,
    }
}

/// A cell with a number that is displayed as `kind`.
pub(super) fn number_cell(number: f64, kind: FormatKind, is_1904: bool) -> Cell {
    if !number.is_finite() {
        return Cell::Error("#NUM!".to_owned());
    }
    Cell::Value(match kind {
        FormatKind::Number => Value::Number(number),
        kind => serial::value(number, kind, is_1904),
    })
}

/// A cell with an error code (MS-XLS 2.5.10).
pub(super) fn error_cell(code: u8) -> Cell {
    Cell::Error(match code {
        0x00 => "#NULL!".to_owned(),
        0x07 => "#DIV/0!".to_owned(),
        0x0f => "#VALUE!".to_owned(),
        0x17 => "#REF!".to_owned(),
        0x1d => "#NAME?".to_owned(),
        0x24 => "#NUM!".to_owned(),
        0x2a => "#N/A".to_owned(),
        0x2b => "#GETTING_DATA".to_owned(),
        code => format!("error {code}"),
    })
}

/// A cell with a text; an empty text is no value.
pub(super) fn text_cell(text: String) -> Cell {
    match text.is_empty() {
        true => Cell::Empty,
        false => Cell::Value(Value::Text(text)),
    }
}

/// Appends a text in UTF-16, little-endian. A surrogate without its other half is replaced.
pub(super) fn push_utf16(bytes: &[u8], to: &mut String) {
    let (units, _) = bytes.as_chunks::<2>();
    to.reserve(units.len());
    let plain = units.iter().take_while(|u| u[1] == 0 && u[0] < 0x80);
    let length = plain.clone().count();
    to.extend(plain.map(|u| char::from(u[0])));
    let rest = units[length..].iter().map(|u| u16::from_le_bytes(*u));
    to.extend(char::decode_utf16(rest).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rk_values_are_numbers() {
        for (raw, want) in [
            (0x3ff0_0000, 1.0),
            (0x3ff0_0001, 0.01),
            (12345 << 2 | 2, 12345.0),
            (12345 << 2 | 3, 123.45),
            ((-7i32 << 2) as u32 | 2, -7.0),
            (0xc00c_0000, -3.5),
        ] {
            assert_eq!(rk(raw), want, "{raw:x}");
        }
    }

    #[test]
    fn utf_16_is_decoded() {
        for text in ["", "plain", "żółć 🙂 x"] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut decoded = "a".to_owned();
            push_utf16(&bytes, &mut decoded);
            assert_eq!(decoded, format!("a{text}"));
        }
        let mut decoded = String::new();
        push_utf16(&[0x3d, 0xd8, b'a', 0, 7], &mut decoded);
        assert_eq!(decoded, "\u{fffd}a");
    }
}
