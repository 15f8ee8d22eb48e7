//! A column with a declared type: converts its values, as people write them where it is used.

use chrono::NaiveTime;
use rowmill_domain::{Kind, Value};
use rowmill_pipeline::{Locale, Unit};

use super::{SHOWN, convert, shown};

/// A column with a declared type.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) column: usize,
    pub(super) kind: Kind,
    locale: Option<&'static Locale>,
    /// What the first number in the column was written with, and its row. Other numbers must agree:
    /// 12 and 12 % in one column are not comparable, nor are two currencies.
    unit: Option<(Unit, u32)>,
}

impl Typed {
    pub(super) fn new(column: usize, kind: Kind, locale: Option<&'static Locale>) -> Typed {
        let unit = None;
        Typed {
            column,
            kind,
            locale,
            unit,
        }
    }

    /// Converts a value of a row. The error says why it cannot be converted, and leaves it unchanged.
    pub(super) fn convert(&mut self, row: u32, value: &mut Value) -> Result<(), String> {
        if let (Some(locale), Value::Text(text)) = (self.locale, &*value)
            && self.kind != Kind::Text
            && let Some(read) = self.read(locale, row, text)
        {
            *value = read.map_err(|why| {
                let wrong = format!(
                    "`{}` is not {}",
                    shown(value),
                    expected(self.kind, Some(locale))
                );
                match why.as_str() {
                    "" => wrong,
                    why => format!("{wrong}: {why}"),
                }
            })?;
            return Ok(());
        }
        if convert(value, self.kind) {
            return Ok(());
        }
        let hint = match &*value {
            Value::Text(text) if self.locale.is_none() && is_local(text, self.kind) => {
                " (`locale` under [input] in the pipeline sets how it is written)"
            }
            _ => "",
        };
        Err(format!(
            "`{}` is not {}{hint}",
            shown(value),
            expected(self.kind, None)
        ))
    }

    /// Reads a text as it is written in a locale. `None` if that makes no difference for the type.
    fn read(&mut self, locale: &Locale, row: u32, text: &str) -> Option<Result<Value, String>> {
        Some(match self.kind {
            Kind::Number => locale.number(text).and_then(|number| {
                self.agree(row, number.unit)?;
                Ok(Value::Number(number.value))
            }),
            Kind::Date => locale.date_time(text).and_then(|moment| {
                if moment.time() == NaiveTime::MIN {
                    Ok(Value::Date(moment.date()))
                } else {
                    Err("it has a time of day".to_owned())
                }
            }),
            Kind::DateTime => locale.date_time(text).map(Value::DateTime),
            Kind::Time => locale.time(text).map(Value::Time),
            Kind::Bool | Kind::Text | Kind::Duration => return None,
        })
    }

    /// Fails if a number is written with another unit than the numbers before it.
    fn agree(&mut self, row: u32, unit: Unit) -> Result<(), String> {
        let Some((first, at)) = &self.unit else {
            self.unit = Some((unit, row));
            return Ok(());
        };
        match (first, &unit) {
            (Unit::Percent, Unit::Percent) => {}
            (Unit::Percent, _) => {
                return Err(format!("it has no percent sign, and row {at} has one"));
            }
            (_, Unit::Percent) => {
                return Err(format!("it has a percent sign, and row {at} has none"));
            }
            (Unit::Currency(first), Unit::Currency(unit)) if first != unit => {
                return Err(format!(
                    "its currency is `{unit}`, and that of row {at} is `{first}`"
                ));
            }
            // Some rows may leave out the currency.
            (Unit::None, Unit::Currency(_)) => self.unit = Some((unit, row)),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a text is a value of the type in some locale.
fn is_local(text: &str, kind: Kind) -> bool {
    // Each way to write numbers, and each order of dates.
    let forms = ["de", "fr", "de-CH", "en-US"];
    let mut all = forms.iter().filter_map(|name| Locale::parse(name));
    let short = text.len() <= SHOWN && text.bytes().any(|b| b.is_ascii_digit());
    match kind {
        _ if !short => false,
        Kind::Number => all.any(|locale| locale.number(text).is_ok()),
        Kind::Date | Kind::DateTime => all.any(|locale| locale.date_time(text).is_ok()),
        Kind::Time => all.any(|locale| locale.time(text).is_ok()),
        Kind::Bool | Kind::Text | Kind::Duration => false,
    }
}

/// What a column of this type accepts, in words.
fn expected(kind: Kind, locale: Option<&Locale>) -> String {
    let date = locale.map_or("2026-03-01", Locale::date_example);
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Number => match locale {
            Some(locale) => format!("a number like {}", locale.number_example()),
            None => "a number like 1234.5".to_owned(),
        },
        Kind::Text => "a text".to_owned(),
        Kind::Date => format!("a date like {date}"),
        Kind::DateTime => match locale {
            Some(_) => format!("a date and time like {date} 13:37"),
            None => "a date and time like 2026-03-01T13:37:00".to_owned(),
        },
        Kind::Time => "a time like 13:37:00".to_owned(),
        Kind::Duration => "a duration like PT1H30M".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a column, or why they are rejected. The first is in row 2.
    fn column(kind: Kind, locale: &str, texts: &[&str]) -> Vec<Result<String, String>> {
        let mut typed = Typed::new(0, kind, Locale::parse(locale));
        let rows = (2..).zip(texts);
        rows.map(|(row, text)| {
            let mut value = Value::from(*text);
            typed.convert(row, &mut value).map(|()| value.to_text())
        })
        .collect()
    }

    fn one(kind: Kind, locale: &str, text: &str) -> Result<String, String> {
        column(kind, locale, &[text]).remove(0)
    }

    #[test]
    fn texts_are_read_as_the_locale_writes_them() {
        for (kind, locale, text, want) in [
            (Kind::Number, "de", "1.234,5", "1234.5"),
            (Kind::Number, "en-US", "1,234.5", "1234.5"),
            (Kind::Date, "de", "3.4.2026", "2026-04-03"),
            (Kind::Date, "en-US", "3/4/2026", "2026-03-04"),
            (Kind::Date, "de", "3.4.2026 00:00", "2026-04-03"),
            (
                Kind::DateTime,
                "de",
                "3.4.2026 13:37",
                "2026-04-03T13:37:00",
            ),
            (Kind::Time, "en-US", "1:37 PM", "13:37:00"),
            (Kind::Bool, "de", "TRUE", "true"),
            (Kind::Duration, "de", "PT1H", "PT1H"),
            (Kind::Text, "de", "1,5", "1,5"),
            (Kind::Number, "", "1234.5", "1234.5"),
        ] {
            assert_eq!(
                one(kind, locale, text).as_deref(),
                Ok(want),
                "{locale} {text}"
            );
        }
    }

    #[test]
    fn other_texts_are_rejected_with_the_reason() {
        for (kind, locale, text, want) in [
            (
                Kind::Number,
                "de",
                "12.5",
                "`12.5` is not a number like 1.234,5: `.` separates thousands",
            ),
            (Kind::Number, "de", "x", "`x` is not a number like 1.234,5"),
            (
                Kind::Date,
                "de",
                "3.4.26",
                "`3.4.26` is not a date like 31.12.2026: the year has two digits",
            ),
            (
                Kind::Date,
                "de",
                "3.4.2026 13:37",
                "`3.4.2026 13:37` is not a date like 31.12.2026: it has a time of day",
            ),
            (Kind::Bool, "de", "ja", "`ja` is not `true` or `false`"),
            (
                Kind::Number,
                "",
                "1,5",
                "`1,5` is not a number like 1234.5 (`locale` under [input] in the pipeline sets how it is written)",
            ),
            (
                Kind::Date,
                "",
                "3.4.2026",
                "`3.4.2026` is not a date like 2026-03-01 (`locale` under [input] in the pipeline sets how it is written)",
            ),
            (Kind::Number, "", "x", "`x` is not a number like 1234.5"),
        ] {
            assert_eq!(
                one(kind, locale, text),
                Err(want.to_owned()),
                "{locale} {text}"
            );
        }
    }

    #[test]
    fn numbers_of_a_column_must_have_one_unit() {
        let ok = |text: &str| Ok(text.to_owned());
        let prices = column(
            Kind::Number,
            "de",
            &["5", "7,5 €", "EUR 8", "9", "7 $", "5 %"],
        );
        assert_eq!(prices[..4], [ok("5"), ok("7.5"), ok("8"), ok("9")]);
        let why = |result: &Result<String, String>| result.clone().unwrap_err();
        assert!(why(&prices[4]).ends_with("its currency is `$`, and that of row 3 is `EUR`"));
        assert!(why(&prices[5]).ends_with("it has a percent sign, and row 3 has none"));
        let shares = column(Kind::Number, "de", &["5 %", "12,5%", "7"]);
        assert_eq!(shares[..2], [ok("0.05"), ok("0.125")]);
        assert!(why(&shares[2]).ends_with("it has no percent sign, and row 2 has one"));
    }
}
