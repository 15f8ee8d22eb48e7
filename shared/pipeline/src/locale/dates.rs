//! Dates and times of day.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rowmill_domain::{Kind, Value};

use super::{DateOrder, Locale};

/// The months in some languages, without accents that people leave out.
const MONTHS: [&[&str]; 12] = [
    &[
        "january", "januar", "janvier", "enero", "gennaio", "januari", "janeiro",
    ],
    &[
        "february",
        "februar",
        "février",
        "fevrier",
        "febrero",
        "febbraio",
        "februari",
        "fevereiro",
    ],
    &[
        "march", "märz", "maerz", "mrz", "mars", "marzo", "maart", "mrt", "março", "marco",
    ],
    &["april", "avril", "abril", "aprile"],
    &["may", "mai", "mayo", "maggio", "mei", "maio"],
    &["june", "juni", "juin", "junio", "giugno", "junho"],
    &["july", "juli", "juillet", "julio", "luglio", "julho"],
    &["august", "août", "aout", "agosto", "augustus", "augusti"],
    &[
        "september",
        "septembre",
        "septiembre",
        "settembre",
        "setembro",
    ],
    &[
        "october", "oktober", "octobre", "octubre", "ottobre", "outubro",
    ],
    &["november", "novembre", "noviembre", "novembro"],
    &[
        "december",
        "dezember",
        "décembre",
        "decembre",
        "diciembre",
        "dicembre",
        "dezembro",
    ],
];

impl Locale {
    /// A date like those that [`Locale::date`] reads: `31.12.2026`.
    pub fn date_example(&self) -> &'static str {
        match self.order {
            DateOrder::DayMonthYear => "31.12.2026",
            DateOrder::MonthDayYear => "12/31/2026",
            DateOrder::YearMonthDay => "2026-12-31",
        }
    }

    /// Reads a date. The year has four digits. It can come first in every locale, and the month can be
    /// a word.
    ///
    /// # Errors
    /// Why the text is not a date, or could be two.
    pub fn date(&self, text: &str) -> Result<NaiveDate, String> {
        if let Some(Value::Date(date)) = Value::parse(text, Kind::Date) {
            return Ok(date);
        }
        let parts: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || "./-,".contains(c))
            .filter(|part| !part.is_empty() && !matches!(*part, "de" | "of" | "do"))
            .collect();
        let [first, second, third] = parts[..] else {
            return Err(String::new());
        };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let words = parts.iter().filter(|part| !is_number(part)).count();
        let (year, month, day) = match words {
            0 => {
                let separators: Vec<char> = text
                    .chars()
                    .filter(|c| !c.is_ascii_digit() && !c.is_whitespace())
                    .collect();
                if separators.iter().any(|c| *c != separators[0] || *c == ',') {
                    return Err("its parts are separated in different ways".to_owned());
                }
                if first.len() == 4 {
                    (first, number(second)?, third)
                } else if third.len() == 2 && first.len() <= 2 {
                    return Err("the year has two digits".to_owned());
                } else {
                    match self.order {
                        DateOrder::DayMonthYear => (third, number(second)?, first),
                        DateOrder::MonthDayYear => (third, number(first)?, second),
                        DateOrder::YearMonthDay => {
                            return Err("the year is not the first part".to_owned());
                        }
                    }
                }
            }
            1 if is_number(third) => {
                let (word, other) = match is_number(first) {
                    true => (second, first),
                    false => (first, second),
                };
                let month = month(word).ok_or_else(String::new)?;
                if other.len() == 4 {
                    (other, month, third)
                } else {
                    (third, month, other)
                }
            }
            _ => return Err(String::new()),
        };
        if year.len() != 4 {
            return Err(match year.len() {
                2 => "the year has two digits".to_owned(),
                _ => String::new(),
            });
        }
        let (year, day) = (number(year)?, number(day)?);
        let year = i32::try_from(year).map_err(|_| String::new())?;
        NaiveDate::from_ymd_opt(year, month, day).ok_or_else(|| match words {
            0 if first.len() != 4 => format!(
                "this date does not exist when the {} comes first",
                match self.order {
                    DateOrder::MonthDayYear => "month",
                    _ => "day",
                }
            ),
            _ => "this date does not exist".to_owned(),
        })
    }

    /// Reads a date with a time of day. A date alone is midnight.
    ///
    /// # Errors
    /// Why the text is not a date with a time, or could be two.
    pub fn date_time(&self, text: &str) -> Result<NaiveDateTime, String> {
        if let Some(Value::DateTime(moment)) = Value::parse(text, Kind::DateTime) {
            return Ok(moment);
        }
        let Some(colon) = text.find(':') else {
            return Ok(self.date(text)?.and_time(NaiveTime::MIN));
        };
        let digits = text[..colon].bytes().rev().take_while(u8::is_ascii_digit);
        let (date, clock) = text.split_at(colon - digits.count());
        let date = date.trim_end_matches(|c: char| c.is_whitespace() || c == ',' || c == 'T');
        Ok(self
            .date(date)?
            .and_time(time(clock).ok_or_else(String::new)?))
    }
}

impl Locale {
    /// Reads a time of day, on a clock with 24 hours or, with AM or PM, with 12.
    ///
    /// # Errors
    /// Why the text is not a time of day.
    pub fn time(&self, text: &str) -> Result<NaiveTime, String> {
        match Value::parse(text, Kind::Time) {
            Some(Value::Time(time)) => Ok(time),
            _ => time(text).ok_or_else(String::new),
        }
    }
}

/// Reads a time of day with two or three parts, on a clock with 24 hours or, with AM or PM, with 12.
fn time(text: &str) -> Option<NaiveTime> {
    let lower = text.trim().to_lowercase().replace('.', "");
    let lower = lower.strip_suffix("uhr").unwrap_or(&lower).trim_end();
    let (clock, afternoon) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(clock), _) => (clock.trim_end(), Some(false)),
        (_, Some(clock)) => (clock.trim_end(), Some(true)),
        (None, None) => (lower, None),
    };
    let mut parts = clock.split(':');
    let mut next = || -> Option<u32> {
        let part = parts.next()?;
        let valid = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| part.parse().ok()).flatten()
    };
    let (hour, minute) = (next()?, next()?);
    let second = match clock.matches(':').count() {
        1 => 0,
        2 => next()?,
        _ => return None,
    };
    let hour = match (afternoon, hour) {
        (None, hour) => hour,
        (Some(_), 0 | 13..) => return None,
        (Some(false), hour) => hour % 12,
        (Some(true), hour) => hour % 12 + 12,
    };
    NaiveTime::from_hms_opt(hour, minute, second)
}

fn number(part: &str) -> Result<u32, String> {
    let short = part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
    let number = short.then(|| part.parse().ok()).flatten();
    number.ok_or_else(String::new)
}

/// The month of a name or of the start of one, with at least three letters. `None` if there is none, or
/// if it depends on the language.
fn month(word: &str) -> Option<u32> {
    let word = word.to_lowercase();
    if word.chars().count() < 3 {
        return None;
    }
    let starts = |names: &&[&str]| names.iter().any(|name| name.starts_with(&word));
    let mut found = (1..).zip(&MONTHS).filter(|(_, names)| starts(names));
    match (found.next(), found.next()) {
        (Some((month, _)), None) => Some(month),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;
    use proptest::prelude::*;

    use super::*;

    fn date(locale: &str, text: &str) -> Result<String, String> {
        let date = Locale::parse(locale).unwrap().date(text)?;
        Ok(date.to_string())
    }

    #[test]
    fn dates_are_read_as_they_are_written_in_a_country() {
        for (locale, text, want) in [
            ("de", "3.4.2026", "2026-04-03"),
            ("de", "03.04.2026", "2026-04-03"),
            ("de", "3. April 2026", "2026-04-03"),
            ("de", "31. Dez. 2026", "2026-12-31"),
            ("de", "2026-04-03", "2026-04-03"),
            ("cs", "3. 4. 2026", "2026-04-03"),
            ("en-GB", "3/4/2026", "2026-04-03"),
            ("en-US", "3/4/2026", "2026-03-04"),
            ("en-US", "12-31-2026", "2026-12-31"),
            ("en-US", "March 4, 2026", "2026-03-04"),
            ("en-US", "4 Mar 2026", "2026-03-04"),
            ("en-US", "2026/3/4", "2026-03-04"),
            ("es", "4 de marzo de 2026", "2026-03-04"),
            ("fr", "4 août 2026", "2026-08-04"),
            ("hu", "2026. 03. 04.", "2026-03-04"),
            ("sv", "2026-03-04", "2026-03-04"),
        ] {
            assert_eq!(date(locale, text).as_deref(), Ok(want), "{locale} {text}");
        }
    }

    #[test]
    fn dates_that_could_be_two_are_refused() {
        for (locale, text, reason) in [
            ("de", "3.4.26", "the year has two digits"),
            ("de", "3 Mar 26", "the year has two digits"),
            (
                "de",
                "12/31/2026",
                "this date does not exist when the day comes first",
            ),
            (
                "en-US",
                "31/12/2026",
                "this date does not exist when the month comes first",
            ),
            ("sv", "3/4/2026", "the year is not the first part"),
            (
                "de",
                "31.2.2026",
                "this date does not exist when the day comes first",
            ),
            ("de", "2026/13/01", "this date does not exist"),
            (
                "de",
                "3.4/2026",
                "its parts are separated in different ways",
            ),
            (
                "de",
                "3,4,2026",
                "its parts are separated in different ways",
            ),
            ("de", "April 2026", ""),
            ("de", "3 Ju 2026", ""),
            ("de", "3 Xyz 2026", ""),
            ("de", "3.4.02026", ""),
            ("de", "1.2.3.2026", ""),
            ("de", "", ""),
        ] {
            assert_eq!(
                date(locale, text),
                Err(reason.to_owned()),
                "{locale} {text}"
            );
        }
    }

    #[test]
    fn times_of_both_clocks_are_read() {
        for (text, want) in [
            ("31.12.2026 13:37", "2026-12-31 13:37:00"),
            ("31.12.2026, 13:37:05 Uhr", "2026-12-31 13:37:05"),
            ("31.12.2026 1:37 PM", "2026-12-31 13:37:00"),
            ("31.12.2026 12:05 a.m.", "2026-12-31 00:05:00"),
            ("31.12.2026 12:05pm", "2026-12-31 12:05:00"),
            ("2026-12-31T13:37:00", "2026-12-31 13:37:00"),
            ("31.12.2026", "2026-12-31 00:00:00"),
        ] {
            let moment = Locale::parse("de").unwrap().date_time(text);
            assert_eq!(moment.map(|m| m.to_string()).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "31.12.2026 13:37 PM",
            "31.12.2026 0:37 AM",
            "31.12.2026 25:00",
            "31.12.2026 1:2:3:4",
            "13:37",
            "31.12.2026 :30",
            "31.12.2026 13:",
        ] {
            assert!(
                Locale::parse("de").unwrap().date_time(text).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(days in 0..3_652_058i32, at in 0..Locale::NAMES.len(), short in any::<bool>()) {
            let day = NaiveDate::from_num_days_from_ce_opt(days + 1).unwrap();
            prop_assume!(day.year() >= 1000);
            let locale = Locale::parse(Locale::NAMES[at]).unwrap();
            let format = match (locale.order, short) {
                (DateOrder::DayMonthYear, true) => "%-d.%-m.%Y",
                (DateOrder::DayMonthYear, false) => "%d/%m/%Y",
                (DateOrder::MonthDayYear, true) => "%-m/%-d/%Y",
                (DateOrder::MonthDayYear, false) => "%m-%d-%Y",
                (DateOrder::YearMonthDay, true) => "%Y. %-m. %-d.",
                (DateOrder::YearMonthDay, false) => "%Y/%m/%d",
            };
            prop_assert_eq!(locale.date(&day.format(format).to_string()), Ok(day));
            let word = day.format("%-d %B %Y").to_string();
            prop_assert_eq!(locale.date(&word), Ok(day));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), at in 0..Locale::NAMES.len()) {
            let locale = Locale::parse(Locale::NAMES[at]).unwrap();
            let _ = (locale.date(&text), locale.date_time(&text), time(&text));
        }
    }
}
