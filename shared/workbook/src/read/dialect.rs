//! Detects the delimiter of delimited text: one of `,`, `;`, tab and `|`, or none, if the text has one
//! column.
//!
//! Each candidate parses the start of the text, with quotes. Its score says how much the result looks
//! like a table: records as wide as the header, a header of short distinct names, one type of value in
//! each column, no other delimiter inside values, no blanks after the delimiter (which make it
//! punctuation), quotes that end where values end, and the file's extension. `tests/dialect` measures
//! the result on generated files; the weights were chosen there, with another seed.

use std::path::Path;

use rowmill_domain::Delimiter;

/// Candidates, in order of preference.
const CANDIDATES: [u8; 4] = *b",;\t|";
/// Records to examine.
const RECORDS: usize = 400;
/// Number of records in which to look for the header.
const HEADER_RECORDS: usize = 12;
/// Records of one value at the end that may be notes below the table.
const FOOTER_RECORDS: usize = 4;
/// A table scores more than this; otherwise the text has one column.
const TABLE: f64 = 0.78;
/// The same if the first record is a header with this delimiter.
const TABLE_BELOW_HEADER: f64 = -0.5;
/// Below this lead over the next choice, the result is a guess.
const MARGIN: f64 = 0.15;

/// A detected delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelimiterGuess {
    /// The delimiter.
    pub delimiter: Delimiter,
    /// The second choice, if it is nearly as likely.
    pub instead: Option<Delimiter>,
}

impl DelimiterGuess {
    /// The note for the mail; `None` if the choice is clear.
    pub(crate) fn note(&self) -> Option<String> {
        let instead = self.instead?;
        let set = format!("set `delimiter = \"{instead}\"` under [input] in the pipeline");
        Some(match (self.delimiter, instead) {
            (Delimiter::None, _) => format!(
                "The delimiter is not clear; the file was read as one column. If it has several, \
                 {set}."
            ),
            (used, Delimiter::None) => format!(
                "The delimiter is not clear; `{used}` was used. If the file has only one column, \
                 {set}."
            ),
            (used, _) => format!(
                "The delimiter is not clear; `{used}` was used. If the columns are wrong, {set}."
            ),
        })
    }
}

/// Detects the delimiter of a text that starts with `sample`; `whole` says that nothing follows it
/// text. The extension of `path` decides in
/// favor of tabs (`tsv`, `tab`) or bars (`psv`) if the text allows both.
pub fn guess_delimiter(sample: &str, whole: bool, path: &Path) -> DelimiterGuess {
    let extension = path.extension().and_then(|e| e.to_str());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    let named = first_line_is_a_name(sample);
    let mut scores: Vec<(f64, Delimiter)> = Vec::new();
    let mut one_column = TABLE;
    for candidate in CANDIDATES {
        let parsed = Parsed::new(sample, whole, candidate);
        let Some((score, header)) = parsed.score(candidate, &extension, named) else {
            continue;
        };
        scores.push((score, Delimiter::Character(candidate)));
        if header {
            one_column = TABLE_BELOW_HEADER;
        }
    }
    scores.push((one_column, Delimiter::None));
    // Stable, so that equal scores keep the order of preference.
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (best, delimiter) = scores[0];
    let second = scores.get(1).filter(|(score, _)| best - score < MARGIN);
    DelimiterGuess {
        delimiter,
        instead: second.map(|(_, other)| *other),
    }
}

/// Whether the first line that is not blank is one or a few words without any delimiter: the header of
/// a single column, or a title.
fn first_line_is_a_name(sample: &str) -> bool {
    let mut lines = sample.split(['\n', '\r']).map(str::trim);
    let line = lines.find(|l| !l.is_empty()).unwrap_or_default();
    let line = match line.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(inner) => inner,
        None => line,
    };
    let has = |c: char| c.is_ascii_digit() || matches!(c, '"' | ',' | ';' | '\t' | '|' | ':');
    !line.is_empty()
        && line.chars().count() <= 40
        && line.split_whitespace().count() <= 3
        && !line.contains(has)
        && !line.ends_with(['.', '!', '?'])
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    Number,
    Date,
    Time,
    Mail,
    Url,
    Bool,
    Text,
}

const KINDS: usize = 8;

struct Field {
    text: String,
    kind: Kind,
    quoted: bool,
}

/// The start of a text, parsed with one delimiter.
struct Parsed {
    records: Vec<Vec<Field>>,
    /// For each record, whether blank lines are above it.
    below_blank: Vec<bool>,
    /// Fields whose closing quote is followed by text.
    bad_quotes: usize,
    /// Whether the text ends inside quotes.
    open: bool,
}

impl Parsed {
    fn new(sample: &str, whole: bool, delimiter: u8) -> Parsed {
        let mut parsed = Parsed {
            records: Vec::new(),
            below_blank: Vec::new(),
            bad_quotes: 0,
            open: false,
        };
        let bytes = sample.as_bytes();
        let (mut record, mut blank, mut at) = (Vec::new(), false, 0);
        while at < bytes.len() && parsed.records.len() < RECORDS {
            let quoted = bytes[at] == b'"';
            let mut text = String::new();
            if quoted {
                at += 1;
                loop {
                    let Some(length) = memchr::memchr(b'"', &bytes[at..]) else {
                        text.push_str(&sample[at..]);
                        at = bytes.len();
                        parsed.open = true;
                        break;
                    };
                    text.push_str(&sample[at..at + length]);
                    at += length + 1;
                    if bytes.get(at) != Some(&b'"') {
                        break;
                    }
                    text.push('"');
                    at += 1;
                }
            }
            let rest = memchr::memchr3(delimiter, b'\n', b'\r', &bytes[at..]);
            let end = rest.map_or(bytes.len(), |length| at + length);
            if quoted && end > at {
                parsed.bad_quotes += 1;
            }
            text.push_str(&sample[at..end]);
            let kind = kind(text.trim());
            record.push(Field { text, kind, quoted });
            at = end + 1;
            match bytes.get(end) {
                Some(byte) if *byte == delimiter && at < bytes.len() => continue,
                Some(byte) if *byte == delimiter => record.push(Field {
                    text: String::new(),
                    kind: Kind::Empty,
                    quoted: false,
                }),
                Some(b'\r') if bytes.get(at) == Some(&b'\n') => at += 1,
                _ => {}
            }
            let values = std::mem::take(&mut record);
            if values.iter().all(|field: &Field| field.kind == Kind::Empty) && values.len() == 1 {
                blank = true;
                continue;
            }
            parsed.records.push(values);
            parsed.below_blank.push(std::mem::take(&mut blank));
        }
        // The end of the sample can cut the last record.
        if !whole && at >= bytes.len() && parsed.records.len() > 1 {
            parsed.records.pop();
            parsed.below_blank.pop();
            parsed.open = false;
        }
        parsed
    }

    /// How much the text looks like a table with this delimiter, and whether its first record is a
    /// header with it. `None` if the delimiter does not separate anything. `named` says that the first
    /// line is a single name.
    fn score(&self, delimiter: u8, extension: &str, named: bool) -> Option<(f64, bool)> {
        let headers = 0..self.records.len().min(HEADER_RECORDS);
        let best = headers
            .filter_map(|at| self.score_below(at, delimiter, named))
            .max_by(f64::total_cmp)?;
        let preference = match (delimiter, extension) {
            (b'\t', "tsv" | "tab") | (b'|', "psv") => 0.5,
            (b'\t', "csv") => 0.03,
            (b'\t', _) => 0.05,
            (b',', _) => 0.02,
            (b';', _) => 0.01,
            _ => 0.0,
        };
        let first = &self.records[0];
        let header = first.len() > 1
            && header_quality(first) >= 0.9
            && !first.iter().skip(1).any(|f| f.text.starts_with(' '));
        Some((best + preference, header))
    }

    /// The score if record `at` is the header.
    fn score_below(&self, at: usize, delimiter: u8, named: bool) -> Option<f64> {
        let header = &self.records[at];
        let width = header.len();
        if width < 2 {
            return None;
        }
        let body = &self.records[at + 1..];
        let notes = body.iter().rev().take_while(|r| r.len() == 1).count();
        let notes = notes.min(FOOTER_RECORDS).min(body.len() / 3);
        let body = &body[..body.len() - notes];
        let shares = Shares::of(body, width);
        let quality = header_quality(header);
        let columns = self.columns(body, width);

        let mut score = shares.equal + 0.75 * shares.shorter - 1.5 * shares.longer;
        score += shares.alike_longer * 0.5;
        score += shares.single * if width > 2 { 0.3 } else { -0.2 };
        score += 0.6 * quality - 0.3;
        score += 0.35 * columns.agreement;
        if at > 0 {
            let above = &self.records[..at];
            let equal = above.iter().filter(|r| r.len() == width).count();
            score -= 0.06 * at as f64 + 0.5 * equal as f64 / at as f64;
            if quality < 0.4 {
                score -= 0.6;
            }
        }
        let mut cells = Cells::default();
        for record in std::iter::once(header).chain(body) {
            cells.count(record, delimiter);
        }
        let blanks = match delimiter {
            b'\t' => 0.0,
            _ => share(cells.after_blank, cells.delimiters),
        };
        // In a clear table, other delimiters separate the parts of a value.
        let clear = at == 0 && quality >= 0.9 && shares.equal >= 0.95;
        score -= if clear { 0.2 } else { 0.8 } * share(cells.glued, cells.all);
        score -= 0.7 * blanks;
        score -= 0.3 * share(self.bad_quotes, cells.all);
        if self.open {
            score -= 0.4;
        }
        if named && at > 0 {
            // The first line is the only name, unless a table with a header of its own is below it.
            let digits = |f: &Field| f.text.bytes().any(|b| b.is_ascii_digit());
            let own_header =
                columns.typed || self.below_blank[at] || (width > 2 && !header.iter().any(digits));
            let below = at <= 4
                && quality >= 0.66
                && shares.equal + shares.shorter >= 0.9
                && blanks < 0.5
                && own_header;
            if !below {
                // Below `TABLE` by more than the margin, so that it does not count as a guess.
                score = score.min(TABLE) - 0.05 - 0.3 * (1.0 - shares.equal);
            }
        }
        Some(score)
    }

    fn columns(&self, body: &[Vec<Field>], width: usize) -> Columns {
        let (mut sum, mut count, mut typed) = (0.0, 0, false);
        for column in 0..width {
            let mut kinds = [0; KINDS];
            for field in body.iter().filter_map(|record| record.get(column)) {
                kinds[field.kind as usize] += 1;
            }
            kinds[Kind::Empty as usize] = 0;
            let all: usize = kinds.iter().sum();
            let most = kinds.iter().copied().max().unwrap_or_default();
            if all >= 2 {
                let text = kinds[Kind::Text as usize] == most;
                sum += share(most, all) * if text { 1.0 } else { 1.25 };
                count += 1;
                typed |= !text;
            }
        }
        let agreement = if count > 0 {
            sum / f64::from(count)
        } else {
            0.0
        };
        Columns { agreement, typed }
    }
}

struct Columns {
    /// The average share of the most frequent type in each column; more than 1 if it is not text.
    agreement: f64,
    /// Whether a column consists mostly of values that are not text.
    typed: bool,
}

/// The shares of records by width, compared with the header.
struct Shares {
    equal: f64,
    /// Fewer values, but more than one: the last columns are optional.
    shorter: f64,
    single: f64,
    longer: f64,
    /// Longer, and all by the same number of columns: the header has one name too few.
    alike_longer: f64,
}

impl Shares {
    fn of(body: &[Vec<Field>], width: usize) -> Shares {
        let mut shares = Shares {
            equal: 0.8,
            shorter: 0.0,
            single: 0.0,
            longer: 0.0,
            alike_longer: 0.0,
        };
        if body.is_empty() {
            return shares;
        }
        let (mut equal, mut shorter, mut single, mut longer) = (0, 0, 0, 0);
        let mut alike = None;
        for record in body {
            // A delimiter at the end of the line adds an empty value.
            let empty = record.iter().rev().take_while(|f| f.kind == Kind::Empty);
            let filled = record.len() - empty.count();
            match record.len() {
                1 => single += 1,
                length if length < width => shorter += 1,
                length if length == width || filled <= width => equal += 1,
                length => {
                    longer += 1;
                    alike = match alike {
                        None => Some(Some(length)),
                        Some(Some(before)) if before == length => alike,
                        Some(_) => Some(None),
                    };
                }
            }
        }
        let all = body.len();
        shares.equal = share(equal, all);
        shares.shorter = share(shorter, all);
        shares.single = share(single, all);
        shares.longer = share(longer, all);
        // Two records can be alike by chance.
        if longer == all && longer > 2 && matches!(alike, Some(Some(_))) {
            (shares.longer, shares.alike_longer) = (0.0, 1.0);
        }
        shares
    }
}

/// Counts of cells.
#[derive(Default)]
struct Cells {
    all: usize,
    delimiters: usize,
    /// Cells after a delimiter that begin with a blank.
    after_blank: usize,
    /// Cells with another delimiter between two word characters.
    glued: usize,
}

impl Cells {
    fn count(&mut self, record: &[Field], delimiter: u8) {
        for (at, field) in record.iter().enumerate() {
            self.all += 1;
            if at > 0 {
                self.delimiters += 1;
                self.after_blank += usize::from(field.text.starts_with(' '));
            }
            if !field.quoted && is_glued(&field.text, delimiter) {
                self.glued += 1;
            }
        }
    }
}

/// Whether `text` contains a delimiter between two word characters. Only those delimiters count that
/// rarely occur in the values of a text with this delimiter.
fn is_glued(text: &str, delimiter: u8) -> bool {
    let others: &[u8] = match delimiter {
        b',' => b";\t|",
        b';' => b"\t|",
        b'|' => b"\t",
        _ => b"",
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .any(|w| others.contains(&w[1]) && word(w[0]) && word(w[2]))
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

/// How much a record looks like a header, from 0 to 1: filled, distinct, short names.
fn header_quality(record: &[Field]) -> f64 {
    let filled = || record.iter().filter(|f| f.kind != Kind::Empty);
    let count = filled().count();
    if count == 0 {
        return 0.0;
    }
    let mut names: Vec<&str> = filled().map(|f| f.text.trim()).collect();
    let texts = filled().filter(|f| f.kind == Kind::Text || is_year(f.text.trim()));
    let texts = texts.count();
    let short = names.iter().filter(|name| is_short_name(name)).count();
    names.sort_unstable();
    names.dedup();
    share(count, record.len())
        * share(names.len(), count)
        * share(texts, count)
        * share(short, count)
}

fn is_year(text: &str) -> bool {
    text.len() == 4
        && (text.starts_with("19") || text.starts_with("20"))
        && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text is short and contains no punctuation of sentences or code.
fn is_short_name(text: &str) -> bool {
    text.chars().count() <= 40
        && text.bytes().filter(|b| *b == b' ').count() <= 4
        && !text.ends_with(['.', '!', '?', ','])
        && !text.contains([';', '|', '\t', '{', '}'])
        && !text.contains(": ")
}

/// The type of a trimmed value.
fn kind(text: &str) -> Kind {
    const BOOLS: [&str; 12] = [
        "true", "false", "yes", "no", "ja", "nein", "ok", "n/a", "na", "null", "none", "x",
    ];
    match text {
        "" => Kind::Empty,
        _ if text.len() > 200 => Kind::Text,
        _ if is_number(text) => Kind::Number,
        _ if is_date(text) => Kind::Date,
        _ if is_time(text) => Kind::Time,
        _ if is_url(text) => Kind::Url,
        _ if is_mail(text) => Kind::Mail,
        _ if BOOLS.iter().any(|b| b.eq_ignore_ascii_case(text)) => Kind::Bool,
        _ => Kind::Text,
    }
}

/// Digits in groups, with a sign, a currency or a percent sign.
fn is_number(text: &str) -> bool {
    const UNITS: [&str; 8] = ["€", "$", "£", "%", "EUR", "USD", "CHF", "GBP"];
    let mut rest = text.trim_start_matches(['+', '-']);
    for unit in UNITS {
        rest = rest.strip_prefix(unit).unwrap_or(rest).trim_start();
        rest = rest.strip_suffix(unit).unwrap_or(rest).trim_end();
    }
    rest = rest.trim_start_matches(['+', '-']);
    let groups: Vec<&str> = rest
        .split(['.', ',', '\'', '’', ' ', '\u{a0}', '\u{202f}'])
        .collect();
    let digits = |g: &&str| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit());
    let inner = groups.get(1..groups.len() - 1).unwrap_or_default();
    groups.iter().all(digits) && inner.iter().all(|g| g.len() == 3)
}

/// Three numbers with the same separator, and possibly a time.
fn is_date(text: &str) -> bool {
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let Some(separator) = day.chars().find(|c| !c.is_ascii_digit()) else {
        return false;
    };
    let parts: Vec<&str> = day.split(separator).collect();
    matches!(separator, '-' | '.' | '/')
        && parts.len() == 3
        && parts.iter().all(|p| is_digits(p, 4))
        && time.is_none_or(|time| is_time(time.trim_end_matches('Z')))
}

/// Hours, minutes and possibly seconds with a fraction.
fn is_time(text: &str) -> bool {
    let whole = text.split(['.', ',']).next().unwrap_or_default();
    let parts: Vec<&str> = whole.split(':').collect();
    let fraction = text.get(whole.len() + 1..);
    (2..=3).contains(&parts.len())
        && parts.iter().all(|p| is_digits(p, 2))
        && fraction.is_none_or(|f| is_digits(f, 9))
}

fn is_digits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://");
    let rest = rest.or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && host.contains('.')
            && !host.contains('@')
            && !text.contains(|c: char| c.is_whitespace() || c == ',' || c == ';')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(text: &str) -> String {
        guess_delimiter(text, true, Path::new("x.csv"))
            .delimiter
            .to_string()
    }

    #[test]
    fn delimiters_are_detected() {
        for (text, want) in [
            ("a,b\n1,2\n", ","),
            ("a;b\n1,5;2,5\n", ";"),
            ("a\tb c, d\n1\t2, 3\n4\t5\n", "tab"),
            ("a|b|c\n1|2|3", "|"),
            ("\"a,b\";c\n\"d,e\";f\n", ";"),
            ("a;b\n5\" pipe;x,y\n", ";"),
            ("only\none\n", "none"),
            ("", "none"),
        ] {
            assert_eq!(delimiter(text), want, "{text:?}");
        }
        for (head, row, want) in [
            ("Artikel;Preis;Menge", "A0;0,50;0,25", ";"),
            ("id;name", "0;Smith, John", ";"),
            ("Umsatz, 2024\n\nArt;Preis;Menge", "A0;0,50;0,25", ";"),
            ("Umsatz, 2024\nArt;Preis;Menge", "A0;0,50;1", ";"),
            ("Umsatz 2024\nid;name;at", "0;Smith, John;x", ";"),
            ("a;b;c", "0,5;1,5;x;", ";"),
            ("id,\"a;b\",note", "1,\"x;y \"\"z\"\"\",\"one\ntwo\"", ","),
            ("id\tname", "0\tSmith, John; Mrs", "tab"),
            ("id,name,note", "0,a;b,c|d", ","),
        ] {
            let text = format!("{head}\n{}", format!("{row}\r\n").repeat(300));
            assert_eq!(delimiter(&text), want, "{head:?}");
            // The sample ends in the middle of a record.
            let cut = &text[..text.len() - row.len() / 2 - 2];
            let guess = guess_delimiter(cut, false, Path::new("x.csv"));
            assert_eq!(guess.delimiter.to_string(), want, "{head:?}, cut");
        }
    }

    #[test]
    fn a_sample_that_ends_inside_quotes_is_no_worse() {
        let row = format!("1,\"{}\",x\n", "long, text; with\nlines ".repeat(100));
        let text = format!("id,text,kind\n{}", row.repeat(20));
        let guess = guess_delimiter(&text[..text.len() - 50], false, Path::new("x.csv"));
        assert_eq!(
            guess,
            DelimiterGuess {
                delimiter: Delimiter::Character(b','),
                instead: None
            }
        );
    }

    #[test]
    fn a_guess_names_the_key() {
        let guess = DelimiterGuess {
            delimiter: Delimiter::Character(b';'),
            instead: Some(Delimiter::Character(b'\t')),
        };
        assert_eq!(
            guess.note().expect("a guess"),
            "The delimiter is not clear; `;` was used. If the columns are wrong, set `delimiter = \
             \"tab\"` under [input] in the pipeline."
        );
    }
}
