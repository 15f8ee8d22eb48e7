//! The number formats of a page: `mso-number-format` in its style sheet and in its cells.

use std::collections::HashMap;

use crate::read::number_format::{self, FormatKind};

/// Maximum number of formats and of classes to keep.
const FORMATS_MAX: usize = 4096;

/// The number formats of a page. The ID of a format is its place plus 1.
#[derive(Debug, Default)]
pub(super) struct Formats {
    codes: Vec<(String, FormatKind)>,
    classes: HashMap<String, u32>,
}

impl Formats {
    /// Adds the classes of a style sheet.
    pub(super) fn style_sheet(&mut self, css: &str) {
        for rule in css.split('}') {
            let Some((selectors, body)) = rule.rsplit_once('{') else {
                continue;
            };
            let Some(code) = number_format(body) else {
                continue;
            };
            let format = self.intern(code);
            for selector in selectors.split(',') {
                if let Some((_, class)) = selector.trim().rsplit_once('.')
                    && self.classes.len() < FORMATS_MAX
                {
                    self.classes.insert(class.to_owned(), format);
                }
            }
        }
    }

    /// The format of a cell; 0 if it has none.
    pub(super) fn of_cell(&mut self, style: Option<&str>, class: Option<&str>) -> u32 {
        if let Some(code) = style.and_then(number_format) {
            return self.intern(code);
        }
        let mut classes = class.unwrap_or_default().split_ascii_whitespace();
        classes
            .find_map(|class| self.classes.get(class).copied())
            .unwrap_or(0)
    }

    /// What numbers with this format display.
    pub(super) fn kind(&self, format: u32) -> FormatKind {
        let at = (format as usize).checked_sub(1);
        let code = at.and_then(|at| self.codes.get(at));
        code.map_or(FormatKind::Number, |code| code.1)
    }

    /// The code of a format. `None` if it is `General` or unknown.
    pub(super) fn code(&self, format: u32) -> Option<String> {
        let code = &self.codes.get((format as usize).checked_sub(1)?)?.0;
        (!code.eq_ignore_ascii_case("general")).then(|| code.clone())
    }

    fn intern(&mut self, code: String) -> u32 {
        let known = self.codes.iter().position(|(known, _)| *known == code);
        let at = known.unwrap_or(self.codes.len());
        if at == self.codes.len() {
            if at >= FORMATS_MAX {
                return 0;
            }
            let kind = number_format::classify(&code);
            self.codes.push((code, kind));
        }
        at as u32 + 1
    }
}

/// The number format in the declarations of a rule.
fn number_format(declarations: &str) -> Option<String> {
    const NAME: &str = "mso-number-format";
    let at = declarations.find(NAME)?;
    let value = declarations[at + NAME.len()..]
        .trim_start()
        .strip_prefix(':')?;
    let value = value.trim_start();
    let (quote, value) = match value.chars().next()? {
        quote @ ('"' | '\'') => (Some(quote), &value[1..]),
        _ => (None, value),
    };
    let mut code = String::new();
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                // Four hexadecimal digits are a character, anything else stands for itself.
                let digits: String = chars.clone().take(4).collect();
                let character = (digits.len() == 4)
                    .then(|| u32::from_str_radix(&digits, 16).ok())
                    .flatten();
                match character.and_then(char::from_u32) {
                    Some(character) => {
                        code.push(character);
                        chars.nth(3);
                    }
                    None => code.extend(chars.next()),
                }
            }
            c if quote == Some(c) || quote.is_none() && c == ';' => break,
            c => code.push(c),
        }
    }
    let code = code.trim();
    Some(match code {
        "General Number" => "General".to_owned(),
        "General Date" => "m/d/yyyy h:mm".to_owned(),
        "Long Date" => "dddd, mmmm d, yyyy".to_owned(),
        "Medium Date" => "d-mmm-yy".to_owned(),
        "Short Date" => "m/d/yyyy".to_owned(),
        "Long Time" => "h:mm:ss AM/PM".to_owned(),
        "Medium Time" => "h:mm AM/PM".to_owned(),
        "Short Time" => "h:mm".to_owned(),
        "Fixed" => "0.00".to_owned(),
        "Standard" | "Currency" => "#,##0.00".to_owned(),
        "Percent" => "0.00%".to_owned(),
        "Scientific" => "0.00E+00".to_owned(),
        code => code.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_in_style_sheets_and_cells() {
        let mut formats = Formats::default();
        formats.style_sheet(
            "<!-- td {padding:0} .xl24\n{mso-style-parent:style0;\n\tmso-number-format:\"Short Date\";}\n\
             td.xl25, .xl26 {mso-number-format:yyyy\\\\-mm\\\\-dd;} .xl27{mso-number-format:\"\\@\";}\
             .xl28 {mso-number-format:\"\\0022Kc\\0022\\#\\,\\#\\#0\\.00\"} .bad {mso-number-format",
        );
        for (style, class, want, kind) in [
            (None, Some("xl24"), Some("m/d/yyyy"), FormatKind::Date),
            (
                None,
                Some("a xl25"),
                Some("yyyy\\-mm\\-dd"),
                FormatKind::Date,
            ),
            (None, Some("xl26"), Some("yyyy\\-mm\\-dd"), FormatKind::Date),
            (None, Some("xl27"), Some("@"), FormatKind::Number),
            (
                None,
                Some("xl28"),
                Some("\"Kc\"#,##0.00"),
                FormatKind::Number,
            ),
            (
                Some("mso-number-format:'[h]:mm'"),
                Some("xl24"),
                Some("[h]:mm"),
                FormatKind::Duration,
            ),
            (
                Some("mso-number-format:General"),
                None,
                None,
                FormatKind::Number,
            ),
            (None, Some("xl99"), None, FormatKind::Number),
            (None, None, None, FormatKind::Number),
        ] {
            let format = formats.of_cell(style, class);
            assert_eq!(formats.code(format).as_deref(), want, "{style:?} {class:?}");
            assert_eq!(formats.kind(format), kind, "{style:?} {class:?}");
        }
    }
}
