//! Bounds the rendering of a template: its steps, its output, and the texts that it makes on the way.

use std::io;

use minijinja::value::Value as Jinja;
use minijinja::{Error, ErrorKind, State};

use crate::expr::{TEXT_MAX, too_long};

/// Instructions of one rendering. A loop over the characters of a cell that fills Excel's 32,767 takes
/// a tenth.
pub(super) const STEPS_MAX: u64 = 2_000_000;
/// Bytes of all texts that operators combine in one rendering. `{% set b = a ~ a %}` doubles a text.
const COMBINED_MAX: usize = 4 * TEXT_MAX;
/// The largest width or precision in a text for `format`.
const WIDTH_MAX: usize = 10_000;
/// The name under which a rendering counts the bytes.
const COMBINED: &str = "combined";

/// Counts a text that an operator is about to use.
pub(super) fn count(state: &mut State<'_, '_>, value: &Jinja) -> Result<(), Error> {
    let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let before = state.get_temp(COMBINED).and_then(|n| n.as_usize());
    let combined = before.unwrap_or(0).saturating_add(text.len());
    state.set_temp(COMBINED, Jinja::from(combined));
    match combined <= COMBINED_MAX {
        true => Ok(()),
        false => Err(invalid(too_long())),
    }
}

/// Checks the length of a text before a filter makes it.
pub(super) fn check(filter: &str, arguments: &[Jinja]) -> Result<(), Error> {
    let text = |at: usize| arguments.get(at).and_then(Jinja::as_str);
    let length = match (filter, arguments) {
        ("replace", _) => {
            let (Some(this), Some(from), Some(to)) = (text(0), text(1), text(2)) else {
                return Ok(());
            };
            let count = this.matches(from).count();
            this.len().saturating_add(count.saturating_mul(to.len()))
        }
        ("join", [list, ..]) => {
            let between = text(1).map_or(0, str::len);
            let mut length = 0_usize;
            for item in list.try_iter().into_iter().flatten() {
                let item = item.as_str().map_or(NUMBER, str::len);
                length = length.saturating_add(item.saturating_add(between));
                if length > TEXT_MAX {
                    break;
                }
            }
            length
        }
        ("format", _) => {
            let width = text(0).map_or(0, widest);
            if width > WIDTH_MAX {
                return Err(invalid(format!("a width of more than {WIDTH_MAX}")));
            }
            width
        }
        _ => 0,
    };
    match length <= TEXT_MAX {
        true => Ok(()),
        false => Err(invalid(too_long())),
    }
}

/// A low estimate of the length of a value that is not text.
const NUMBER: usize = 1;

/// The largest width or precision in a text for `format`, such as 12 in `%-12s`. One that is an
/// argument (`*`) can have any value.
fn widest(format: &str) -> usize {
    let mut widest = 0;
    for directive in format.split('%').skip(1) {
        let named = directive.strip_prefix('(').and_then(|d| d.split_once(')'));
        let directive = named.map_or(directive, |(_, directive)| directive);
        let end = directive.find(|c: char| !(c.is_ascii_digit() || "#- +.*".contains(c)));
        let options = &directive[..end.unwrap_or(directive.len())];
        if options.contains('*') {
            return usize::MAX;
        }
        let numbers = options.split(|c: char| !c.is_ascii_digit());
        let numbers = numbers.filter(|n| !n.is_empty());
        let numbers = numbers.map(|n| n.parse().unwrap_or(usize::MAX));
        widest = widest.max(numbers.max().unwrap_or(0));
    }
    widest
}

/// Collects the output of a rendering, up to [`TEXT_MAX`] bytes.
#[derive(Default)]
pub(super) struct Output {
    text: Vec<u8>,
    full: bool,
}

impl Output {
    /// Whether there was more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn into_text(self) -> String {
        match String::from_utf8(self.text) {
            Ok(text) => text,
            // A template writes whole texts.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > TEXT_MAX {
            self.full = true;
            return Err(io::Error::other(too_long()));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::Value;
    use rowmill_domain::record::{Columns, Record, Row};

    use crate::Template;

    fn render(source: &str, text: &str) -> Result<String, String> {
        let columns = Columns::new(["T"]);
        let record = Record {
            row: 2,
            values: vec![Some(Value::from(text))],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        let template = Template::compile(source).map_err(|e| e.to_string())?;
        let start = std::time::Instant::now();
        let rendered = template.render(row).map_err(|e| e.0);
        let took = start.elapsed();
        assert!(
            took < std::time::Duration::from_secs(30),
            "{source}: {took:?}"
        );
        rendered
    }

    #[test]
    fn renderings_are_bounded() {
        let doubling: String = (0..40)
            .map(|n| format!("{{% set t{} = t{n} ~ t{n} %}}", n + 1))
            .collect();
        let doubling = format!("{{% set t0 = row.T %}}{doubling}{{{{ t40 | length }}}}");
        let adding = doubling.replace('~', "+");
        let (cell, large) = ("a".repeat(32_767), "a".repeat(1 << 20));
        let long = "longer than 10 MiB";
        for (source, text, reason) in [
            (
                "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
                "x",
                "more than 2000000 steps",
            ),
            ("{% for a in row.T %}{{ row.T }}{% endfor %}", &*cell, long),
            (
                "{% for a in row.T %}{{ row.T ~ a }}{% endfor %}",
                &cell,
                long,
            ),
            (&doubling, &cell, long),
            (&adding, &cell, long),
            ("{{ row.T | replace('a', row.T) }}", &cell, long),
            ("{{ ([row.T] * 1000) | join(',') | length }}", &cell, long),
            ("{{ range(100000) | join(row.T) }}", &cell, long),
            ("{{ row.T * 100 }}", &large, "is too large"),
            (
                "{{ '%99999999s' | format(row.T) }}",
                "x",
                "a width of more than 10000",
            ),
            (
                "{{ '%*s' | format(99999999, row.T) }}",
                "x",
                "a width of more than 10000",
            ),
        ] {
            let error = render(source, text).map(|text| text.len()).unwrap_err();
            assert!(error.contains(reason), "{source}: {error}");
        }
        let most = format!("{}{}", "{{ row.T }}".repeat(10), "{{ row.T }}");
        assert!(render(&most, &large).is_err());
        let most = "{{ row.T }}".repeat(10);
        assert_eq!(render(&most, &large).unwrap().len(), TEXT_MAX);
        // A full cell, character by character.
        let copy = render("{% for c in row.T %}{{ c | upper }}{% endfor %}", &cell);
        assert_eq!(copy.unwrap(), cell.to_uppercase());
    }

    #[test]
    fn widths_are_those_of_directives() {
        for (format, expected) in [
            ("order 20261129: %s", 0),
            ("%5.2f and %-12s", 12),
            ("%(name)099d", 99),
            ("100%% of 99999", 0),
            ("%*d", usize::MAX),
            ("%", 0),
        ] {
            assert_eq!(widest(format), expected, "{format}");
        }
    }
}
