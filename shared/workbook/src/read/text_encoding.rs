//! Decodes text in any encoding that delimited text is found in, piece by piece.

use encoding_rs::Encoding;

/// The encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextEncoding {
    Known(&'static Encoding),
    /// Not in the WHATWG Encoding Standard, so `encoding_rs` does not decode it.
    Utf32(ByteOrder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        }
    }
}

impl TextEncoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TextEncoding::Known(encoding) => encoding.name(),
            TextEncoding::Utf32(_) => "UTF-32",
        }
    }
}

/// Decodes the pieces of a text, without its byte order mark.
pub(crate) enum Decoder {
    Known(encoding_rs::Decoder),
    Utf32(Utf32),
}

pub(crate) struct Utf32 {
    order: ByteOrder,
    /// The start of a character that the last piece did not complete; at most 3 bytes.
    rest: Vec<u8>,
    first: bool,
}

impl Decoder {
    pub(crate) fn new(encoding: TextEncoding) -> Decoder {
        match encoding {
            TextEncoding::Known(encoding) => {
                Decoder::Known(encoding.new_decoder_with_bom_removal())
            }
            TextEncoding::Utf32(order) => Decoder::Utf32(Utf32 {
                order,
                rest: Vec::new(),
                first: true,
            }),
        }
    }

    /// Appends the next piece of the text. Invalid bytes become U+FFFD. Returns whether there were any.
    pub(crate) fn decode(&mut self, bytes: &[u8], text: &mut String, last: bool) -> bool {
        match self {
            Decoder::Known(decoder) => {
                // One byte of any encoding decodes to at most 3 bytes.
                let most = decoder.max_utf8_buffer_length(bytes.len());
                text.reserve(most.unwrap_or(bytes.len().saturating_mul(3)));
                decoder.decode_to_string(bytes, text, last).2
            }
            Decoder::Utf32(decoder) => decoder.decode(bytes, text, last),
        }
    }
}

impl Utf32 {
    fn decode(&mut self, bytes: &[u8], text: &mut String, last: bool) -> bool {
        let mut lossy = false;
        self.rest.extend_from_slice(bytes);
        let (characters, rest) = self.rest.as_chunks::<4>();
        for character in characters {
            let character = char::from_u32(self.order.u32(*character));
            let mark = std::mem::take(&mut self.first) && character == Some('\u{feff}');
            if !mark {
                lossy |= character.is_none();
                text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        let rest = rest.to_vec();
        if last && !rest.is_empty() {
            lossy = true;
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.rest = rest;
        lossy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn utf_32_decodes_in_pieces_of_any_size(text in "\\PC{0,40}", big: bool, piece in 1_usize..9) {
            let order = if big { ByteOrder::Big } else { ByteOrder::Little };
            let bytes: Vec<u8> = std::iter::once('\u{feff}')
                .chain(text.chars())
                .flat_map(|c| match order {
                    ByteOrder::Little => u32::from(c).to_le_bytes(),
                    ByteOrder::Big => u32::from(c).to_be_bytes(),
                })
                .collect();
            let mut decoder = Decoder::new(TextEncoding::Utf32(order));
            let mut decoded = String::new();
            for piece in bytes.chunks(piece) {
                prop_assert!(!decoder.decode(piece, &mut decoded, false));
            }
            prop_assert!(!decoder.decode(&[], &mut decoded, true));
            prop_assert_eq!(decoded, text);
        }
    }

    #[test]
    fn invalid_utf_32_is_replaced() {
        let mut decoder = Decoder::new(TextEncoding::Utf32(ByteOrder::Little));
        let mut text = String::new();
        // A surrogate, a letter, and a character that the end cuts.
        assert!(decoder.decode(&[0, 0xd8, 0, 0, b'a', 0, 0, 0, b'b'], &mut text, false));
        assert!(decoder.decode(&[], &mut text, true));
        assert_eq!(text, "\u{fffd}a\u{fffd}");
    }
}
