//! How a pipeline names a sheet of a workbook, and the delimiter of text.

/// A sheet, by name or by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SheetRef {
    /// The name of the sheet.
    Name(String),
    /// The position of the sheet, from 1. Hidden sheets count.
    Index(u32),
}

/// What separates the values of a record in delimited text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delimiter {
    /// An ASCII character.
    Character(u8),
    /// Nothing: the text has one column.
    None,
}

impl Delimiter {
    /// The names that pipelines accept.
    pub const NAMES: &'static [&'static str] =
        &[",", ";", "tab", "|", ":", "space", "^", "~", "none"];

    /// Parses one of [`Delimiter::NAMES`].
    pub fn parse(name: &str) -> Option<Delimiter> {
        match (name, name.as_bytes()) {
            ("tab", _) => Some(Delimiter::Character(b'\t')),
            ("space", _) => Some(Delimiter::Character(b' ')),
            ("none", _) => Some(Delimiter::None),
            (_, [character]) if Delimiter::NAMES.contains(&name) => {
                Some(Delimiter::Character(*character))
            }
            _ => None,
        }
    }
}

/// The name in pipelines; for other characters, the character.
impl std::fmt::Display for Delimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Delimiter::Character(b'\t') => f.write_str("tab"),
            Delimiter::Character(b' ') => f.write_str("space"),
            Delimiter::Character(character) => write!(f, "{}", char::from(*character)),
            Delimiter::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_delimiter_parses_and_displays() {
        for name in Delimiter::NAMES {
            let delimiter = Delimiter::parse(name).expect(name);
            assert_eq!(delimiter.to_string(), *name);
        }
        assert_eq!(Delimiter::parse("x"), None);
        assert_eq!(Delimiter::parse(""), None);
    }
}
