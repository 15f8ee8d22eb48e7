//! Data styles as number formats of Excel, so that results display values as the document does.

use std::io::Read;

use crate::read::xml::{Event, ScanError, Scanner, unescape};

/// The longest code. Source: Microsoft, Excel specifications and limits.
const CODE_MAX: usize = 255;
/// The most digits that a format asks for.
const DIGITS_MAX: usize = 30;

/// What a data style contains.
#[derive(Default)]
pub(super) struct DataStyle {
    /// Whether it displays a time of day.
    pub(super) clock: bool,
    /// The conditions under which other data styles apply, and the names of these.
    pub(super) sections: Vec<(String, Vec<u8>)>,
    /// Its code, without sections. `None` if Excel has nothing like it.
    pub(super) code: Option<String>,
}

/// Reads the data style `local` whose start was the last event; consumes its end. A `duration` counts
/// more than 24 hours.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    local: &[u8],
    duration: bool,
) -> Result<DataStyle, ScanError> {
    let mut style = DataStyle::default();
    let mut code = Code {
        temporal: matches!(local, b"date-style" | b"time-style"),
        percent: local == b"percentage-style",
        open: duration,
        text: String::new(),
        unknown: false,
    };
    let depth = scanner.depth();
    // The literal text or the symbol being read.
    let mut literal: Option<String> = None;
    while scanner.depth() >= depth {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => {
                let get = |name: &[u8]| scanner.attribute(&attributes, name);
                match scanner.local(&name) {
                    b"map" => {
                        let condition = scanner.text_attribute(&attributes, b"condition");
                        let applied = get(b"apply-style-name").unwrap_or_default();
                        let condition = condition.unwrap_or_default().replace(' ', "");
                        style.sections.push((condition, applied.to_vec()));
                    }
                    b"text" | b"currency-symbol" => literal = (!empty).then(String::new),
                    element => {
                        style.clock |=
                            matches!(element, b"hours" | b"minutes" | b"seconds" | b"am-pm");
                        code.element(element, get);
                    }
                }
            }
            Event::Text(text) => {
                if let Some(literal) = &mut literal {
                    unescape(scanner.bytes(&text), literal);
                }
            }
            Event::Raw(text) => {
                if let Some(literal) = &mut literal {
                    literal.push_str(&String::from_utf8_lossy(scanner.bytes(&text)));
                }
            }
            Event::End { name } => {
                if let Some(text) = literal.take() {
                    match scanner.local(&name) {
                        b"currency-symbol" => code.symbol(&text),
                        _ => code.literal(&text),
                    }
                }
            }
            Event::Eof => return Err(ScanError::Malformed("an element is not closed")),
        }
    }
    style.code = (!code.unknown && !code.text.is_empty()).then_some(code.text);
    Ok(style)
}

/// The code with the codes of its sections.
pub(super) fn with_sections(
    is_text: bool,
    base: &str,
    sections: &[(&str, &str)],
) -> Option<String> {
    let code = match sections {
        [] => base.to_owned(),
        // Its own code is for texts.
        [(_, only)] if is_text => (*only).to_owned(),
        [("value()>=0", first)] => format!("{first};{base}"),
        [("value()>0", first), ("value()<0", second)] => format!("{first};{second};{base}"),
        [
            ("value()>0", first),
            ("value()<0", second),
            ("value()=0", third),
        ] if is_text => {
            format!("{first};{second};{third};{base}")
        }
        [one] if !is_text => format!("{}{};{base}", condition(one.0)?, one.1),
        [one, two] if !is_text => format!(
            "{}{};{}{};{base}",
            condition(one.0)?,
            one.1,
            condition(two.0)?,
            two.1
        ),
        _ => return None,
    };
    (code.chars().count() <= CODE_MAX).then_some(code)
}

/// A condition as Excel writes it.
fn condition(text: &str) -> Option<String> {
    let rest = text.strip_prefix("value()")?;
    let at = rest.find(|c: char| c.is_ascii_digit() || c == '-')?;
    let (operator, number) = rest.split_at(at);
    number.parse::<f64>().ok()?;
    let operator = match operator {
        "!=" => "<>",
        "<" | ">" | "<=" | ">=" | "=" => operator,
        _ => return None,
    };
    Some(format!("[{operator}{number}]"))
}

/// A code being written.
struct Code {
    /// Whether it displays dates or times.
    temporal: bool,
    percent: bool,
    /// Whether the next unit of time may count beyond the unit above it.
    open: bool,
    text: String,
    /// Whether it contains what Excel does not have.
    unknown: bool,
}

impl Code {
    fn element<'a>(&mut self, local: &[u8], get: impl Fn(&[u8]) -> Option<&'a [u8]>) {
        let long = get(b"style") == Some(b"long");
        let unit = |short: &'static str, long_code: &'static str| match long {
            true => long_code,
            false => short,
        };
        match local {
            b"day" => self.text += unit("d", "dd"),
            b"month" if get(b"textual") == Some(b"true") => self.text += unit("mmm", "mmmm"),
            b"month" => self.text += unit("m", "mm"),
            b"year" => self.text += unit("yy", "yyyy"),
            b"day-of-week" => self.text += unit("ddd", "dddd"),
            b"am-pm" => self.text += "AM/PM",
            b"hours" => self.clock(unit("h", "hh")),
            b"minutes" => self.clock(unit("m", "mm")),
            b"seconds" => {
                self.clock(unit("s", "ss"));
                match digits(get(b"decimal-places")) {
                    Some(0) => {}
                    Some(places) => {
                        self.text.push('.');
                        self.text += &"0".repeat(places);
                    }
                    None => self.unknown = true,
                }
            }
            b"number" => self.number(get),
            b"scientific-number" => {
                self.number(&get);
                match digits(get(b"min-exponent-digits")) {
                    Some(exponent) => {
                        self.text += "E+";
                        self.text += &"0".repeat(exponent.max(1));
                    }
                    None => self.unknown = true,
                }
            }
            b"fraction" => {
                let above = digits(get(b"min-numerator-digits"));
                let below = digits(get(b"min-denominator-digits"));
                let (Some(above), Some(below)) = (above, below) else {
                    self.unknown = true;
                    return;
                };
                if get(b"min-integer-digits").is_some() {
                    self.text += "# ";
                }
                self.text += &"?".repeat(above.max(1));
                self.text.push('/');
                match get(b"denominator-value").map(<[u8]>::to_ascii_lowercase) {
                    Some(fixed) if fixed.iter().all(u8::is_ascii_digit) => {
                        self.text += &String::from_utf8_lossy(&fixed);
                    }
                    _ => self.text += &"?".repeat(below.max(1)),
                }
            }
            b"text-content" => self.text.push('@'),
            // Colors of sections. Excel has few of them, and this one is what programs use.
            b"text-properties"
                if get(b"color").is_some_and(|c| c.eq_ignore_ascii_case(b"#ff0000")) =>
            {
                self.text.insert_str(0, "[Red]");
            }
            b"text-properties" => {}
            _ => self.unknown = true,
        }
    }

    /// A unit of time. The first one of a duration counts on.
    fn clock(&mut self, unit: &str) {
        match std::mem::take(&mut self.open) {
            true => self.text += &format!("[{unit}]"),
            false => self.text += unit,
        }
    }

    fn number<'a>(&mut self, get: impl Fn(&[u8]) -> Option<&'a [u8]>) {
        let grouping = get(b"grouping") == Some(b"true");
        let (Some(whole), Some(most)) = (
            digits(get(b"min-integer-digits")),
            digits(get(b"decimal-places")),
        ) else {
            self.unknown = true;
            return;
        };
        let replacement = get(b"decimal-replacement");
        let least = match get(b"min-decimal-places") {
            None if replacement == Some(b"") => Some(0),
            None => Some(most),
            least => digits(least),
        };
        let Some(least) = least.filter(|_| replacement.is_none_or(<[u8]>::is_empty)) else {
            self.unknown = true;
            return;
        };
        if get(b"decimal-places").is_none() && !grouping && whole <= 1 {
            self.text += "General";
            return;
        }
        // `#,##0`: at least four places, so that one separator shows where they are.
        let places = if grouping { whole.max(4) } else { whole.max(1) };
        for place in (0..places).rev() {
            self.text.push(if place < whole { '0' } else { '#' });
            if grouping && place > 0 && place % 3 == 0 {
                self.text.push(',');
            }
        }
        if most > 0 {
            self.text.push('.');
            self.text += &"0".repeat(least.min(most));
            self.text += &"#".repeat(most - least.min(most));
        }
        match get(b"display-factor") {
            None | Some(b"1") => {}
            Some(b"1000") => self.text.push(','),
            Some(b"1000000") => self.text += ",,",
            Some(_) => self.unknown = true,
        }
    }

    fn symbol(&mut self, text: &str) {
        match text.contains([']', '[', '-', '"']) {
            true => self.literal(text),
            false => self.text += &format!("[${text}]"),
        }
    }

    /// Text that is displayed as it is.
    fn literal(&mut self, text: &str) {
        let plain = |c: char| match c {
            ' ' | '-' | '+' | '(' | ')' => true,
            '/' | ':' | '.' => self.temporal,
            '%' => self.percent,
            _ => false,
        };
        if text.chars().all(plain) {
            self.text += text;
            return;
        }
        for (at, part) in text.split('"').enumerate() {
            if at > 0 {
                self.text += "\\\"";
            }
            if part.is_empty() {
                continue;
            }
            // The percent sign multiplies, beside any other text.
            for (at, part) in part.split('%').enumerate() {
                if at > 0 {
                    self.text += if self.percent { "%" } else { "\"%\"" };
                }
                if !part.is_empty() {
                    self.text += &format!("\"{part}\"");
                }
            }
        }
    }
}

/// A number of digits; none means 0. `None` if it is not one, or too many.
fn digits(raw: Option<&[u8]>) -> Option<usize> {
    let Some(raw) = raw else { return Some(0) };
    let count = std::str::from_utf8(raw).ok()?.trim().parse().ok()?;
    (count <= DIGITS_MAX).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of the data style `kind` with this content.
    fn code(kind: &str, content: &str) -> Option<String> {
        let xml = format!("<number:{kind}>{content}</number:{kind}>");
        let mut scanner = Scanner::new(xml.as_bytes(), 1 << 20, 16);
        scanner.next().unwrap();
        let duration = content.starts_with("<!-- duration -->");
        read(&mut scanner, kind.as_bytes(), duration).unwrap().code
    }

    #[test]
    fn data_styles_have_the_code_that_displays_the_same() {
        let number = |attributes: &str| format!("<number:number {attributes}/>");
        let two = number(
            "number:decimal-places='2' number:min-integer-digits='1' number:grouping='true'",
        );
        for (kind, content, want) in [
            ("number-style", number("number:min-integer-digits='1'"), Some("General")),
            (
                "number-style",
                number("number:decimal-places='0' number:min-integer-digits='5'"),
                Some("00000"),
            ),
            ("number-style", two.clone(), Some("#,##0.00")),
            (
                "number-style",
                number("number:decimal-places='3' number:min-decimal-places='1' number:min-integer-digits='1'"),
                Some("0.0##"),
            ),
            (
                "number-style",
                number("number:decimal-places='0' number:display-factor='1000' number:grouping='true' number:min-integer-digits='1'"),
                Some("#,##0,"),
            ),
            (
                "number-style",
                number("number:decimal-places='2' number:min-integer-digits='1' number:decimal-replacement='--'"),
                None,
            ),
            (
                "percentage-style",
                format!("{}<number:text>%</number:text>", number("number:decimal-places='1' number:min-integer-digits='1'")),
                Some("0.0%"),
            ),
            (
                "percentage-style",
                format!("{}<number:text> % of all</number:text>", number("number:decimal-places='0' number:min-integer-digits='1'")),
                Some("0\" \"%\" of all\""),
            ),
            (
                "currency-style",
                format!("<number:text>-</number:text>{two}<number:text> </number:text><number:currency-symbol>€</number:currency-symbol>"),
                Some("-#,##0.00 [$€]"),
            ),
            (
                "currency-style",
                format!("<style:text-properties fo:color='#FF0000'/>{two}<number:text> \"a\" 5%</number:text>"),
                Some("[Red]#,##0.00\" \"\\\"\"a\"\\\"\" 5\"\"%\""),
            ),
            (
                "date-style",
                "<number:day number:style='long'/><number:text>.</number:text><number:month \
                 number:style='long'/><number:text>.</number:text><number:year number:style='long'/>".to_owned(),
                Some("dd.mm.yyyy"),
            ),
            (
                "date-style",
                "<number:day-of-week/><number:text>, </number:text><number:day/><number:text> </number:text>\
                 <number:month number:textual='true' number:style='long'/><number:text> </number:text>\
                 <number:year/><number:text> at </number:text><number:hours/><number:text>:</number:text>\
                 <number:minutes number:style='long'/><number:text> </number:text><number:am-pm/>".to_owned(),
                Some("ddd\", \"d mmmm yy\" at \"h:mm AM/PM"),
            ),
            ("date-style", "<number:quarter/>".to_owned(), None),
            (
                "time-style",
                "<!-- duration --><number:hours/><number:text>:</number:text><number:minutes \
                 number:style='long'/><number:text>:</number:text><number:seconds number:style='long' \
                 number:decimal-places='2'/>".to_owned(),
                Some("[h]:mm:ss.00"),
            ),
            (
                "number-style",
                "<number:scientific-number number:decimal-places='2' number:min-integer-digits='1' \
                 number:min-exponent-digits='2'/>".to_owned(),
                Some("0.00E+00"),
            ),
            (
                "number-style",
                "<number:fraction number:min-integer-digits='0' number:min-numerator-digits='2' \
                 number:min-denominator-digits='2'/>".to_owned(),
                Some("# ??/??"),
            ),
            ("text-style", "<number:text-content/>".to_owned(), Some("@")),
            ("boolean-style", "<number:boolean/>".to_owned(), None),
            ("number-style", number("number:decimal-places='99999999999'"), None),
        ] {
            assert_eq!(code(kind, &content).as_deref(), want, "{content}");
        }
    }

    #[test]
    fn sections_are_in_the_order_of_excel() {
        let (up, down) = (("value()>0", "0.0"), ("value()<0", "-0.0"));
        for (is_text, sections, want) in [
            (false, &[][..], Some("0")),
            (false, &[("value()>=0", "0.00")], Some("0.00;0")),
            (false, &[up, down], Some("0.0;-0.0;0")),
            (false, &[("value()>=100", "0.0")], Some("[>=100]0.0;0")),
            (false, &[("value()!=-1.5", "a")], Some("[<>-1.5]a;0")),
            (false, &[("is-true()", "a")], None),
            (false, &[up, down, ("value()=7", "x")], None),
            (true, &[("value()<=9E99", "d.m.yy")], Some("d.m.yy")),
            (
                true,
                &[up, down, ("value()=0", "\"-\"")],
                Some("0.0;-0.0;\"-\";0"),
            ),
        ] {
            let code = with_sections(is_text, "0", sections);
            assert_eq!(code.as_deref(), want, "{sections:?}");
        }
    }
}
