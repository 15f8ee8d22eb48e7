//! How people in a country write numbers, dates and times. A text that could have two meanings is
//! refused with the reason.

mod dates;
mod numbers;

pub use numbers::{LocalNumber, Unit};

/// The order of day, month and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DateOrder {
    DayMonthYear,
    MonthDayYear,
    YearMonthDay,
}

/// How numbers and dates are written in a country.
#[derive(Debug, PartialEq, Eq)]
pub struct Locale {
    /// The language, or the language and the country: `de`, `en-US`.
    pub name: &'static str,
    decimal: char,
    /// What can separate thousands. A space stands for every kind of space.
    groups: &'static [char],
    order: DateOrder,
}

const fn locale(
    name: &'static str,
    decimal: char,
    groups: &'static [char],
    order: DateOrder,
) -> Locale {
    Locale {
        name,
        decimal,
        groups,
        order,
    }
}

const POINTS: &[char] = &['.', ' '];
const SPACES: &[char] = &[' '];
const COMMAS: &[char] = &[','];
const APOSTROPHES: &[char] = &['\'', '’'];

use DateOrder::{DayMonthYear, MonthDayYear, YearMonthDay};

/// All locales. Source: the Unicode CLDR 45. `en` alone is not one of them: the order of dates depends
/// on the country.
static LOCALES: [Locale; 31] = [
    locale("bg", ',', SPACES, DayMonthYear),
    locale("cs", ',', SPACES, DayMonthYear),
    locale("da", ',', POINTS, DayMonthYear),
    locale("de", ',', POINTS, DayMonthYear),
    locale("de-CH", '.', APOSTROPHES, DayMonthYear),
    locale("el", ',', POINTS, DayMonthYear),
    locale("en-AU", '.', COMMAS, DayMonthYear),
    locale("en-GB", '.', COMMAS, DayMonthYear),
    locale("en-IE", '.', COMMAS, DayMonthYear),
    locale("en-NZ", '.', COMMAS, DayMonthYear),
    locale("en-US", '.', COMMAS, MonthDayYear),
    locale("es", ',', POINTS, DayMonthYear),
    locale("es-MX", '.', COMMAS, DayMonthYear),
    locale("fi", ',', SPACES, DayMonthYear),
    locale("fr", ',', SPACES, DayMonthYear),
    locale("hu", ',', SPACES, YearMonthDay),
    locale("id", ',', POINTS, DayMonthYear),
    locale("it", ',', POINTS, DayMonthYear),
    locale("ja", '.', COMMAS, YearMonthDay),
    locale("ko", '.', COMMAS, YearMonthDay),
    locale("nb", ',', SPACES, DayMonthYear),
    locale("nl", ',', POINTS, DayMonthYear),
    locale("pl", ',', SPACES, DayMonthYear),
    locale("pt", ',', POINTS, DayMonthYear),
    locale("ro", ',', POINTS, DayMonthYear),
    locale("ru", ',', SPACES, DayMonthYear),
    locale("sk", ',', SPACES, DayMonthYear),
    locale("sv", ',', SPACES, YearMonthDay),
    locale("tr", ',', POINTS, DayMonthYear),
    locale("uk", ',', SPACES, DayMonthYear),
    locale("zh", '.', COMMAS, YearMonthDay),
];

impl Locale {
    /// The names of all locales.
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; LOCALES.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = LOCALES[at].name;
            at += 1;
        }
        names
    };

    /// The locale with one of these names.
    pub fn parse(name: &str) -> Option<&'static Locale> {
        LOCALES.iter().find(|locale| locale.name == name)
    }
}
