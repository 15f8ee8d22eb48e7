//! Numbers with a decimal comma, separated thousands, a currency or a percent sign.

use super::Locale;

/// A number that somebody wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalNumber {
    /// The number. `12.5 %` is 0.125.
    pub value: f64,
    /// What it was written with.
    pub unit: Unit,
}

/// What a number was written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing.
    None,
    /// A percent sign.
    Percent,
    /// A currency: its code, or the symbol if that stands for several currencies: `EUR`, `$`.
    Currency(String),
}

/// Currencies that are written with letters. Other symbols are recognized by their Unicode category.
const CURRENCIES: [&str; 50] = [
    "AED", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR",
    "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "MXN", "MYR", "NOK", "NZD",
    "PEN", "PHP", "PLN", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH",
    "USD", "VND", "ZAR", "Fr.", "kr.", "kr", "Kč", "zł", "Ft", "R$", "lei",
];

impl Locale {
    /// A number like those that this returns for: `1.234,5`.
    pub fn number_example(&self) -> String {
        format!("1{}234{}5", self.groups[0], self.decimal)
    }

    /// Reads a number. A sign or parentheses, a currency or a percent sign, and separated thousands are
    /// allowed.
    ///
    /// # Errors
    /// Why the text is not a number, or could be two.
    pub fn number(&self, text: &str) -> Result<LocalNumber, String> {
        let spaced: String = text.chars().map(plain).collect();
        let mut rest = spaced.trim();
        let mut unit = Unit::None;
        let mut negative = None;
        if let Some(inside) = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
            negative = Some(true);
            rest = inside.trim();
        }
        loop {
            let before = rest.len();
            if negative.is_none() {
                for (sign, is_negative) in [('-', true), ('+', false)] {
                    if let Some(after) = rest.strip_prefix(sign) {
                        (rest, negative) = (after.trim_start(), Some(is_negative));
                        break;
                    }
                }
            }
            if negative.is_none()
                && let Some(after) = rest.strip_suffix('-')
            {
                (rest, negative) = (after.trim_end(), Some(true));
            }
            if unit == Unit::None {
                if let Some(after) = rest.strip_suffix('%') {
                    (rest, unit) = (after.trim_end(), Unit::Percent);
                } else if let Some((after, currency)) = without_currency(rest) {
                    (rest, unit) = (after, Unit::Currency(currency));
                }
            }
            if rest.len() == before {
                break;
            }
        }
        let mut plain = self.digits(rest)?;
        if unit == Unit::Percent {
            // Not a division, which would round once more.
            plain += "e-2";
        }
        let value: f64 = plain.parse().map_err(|_| String::new())?;
        if !value.is_finite() {
            return Err("it is too large".to_owned());
        }
        Ok(LocalNumber {
            value: if negative == Some(true) {
                -value
            } else {
                value
            },
            unit,
        })
    }

    /// Digits, with separated thousands and decimals, as a number with a decimal point.
    fn digits(&self, text: &str) -> Result<String, String> {
        let (whole, fraction) = match text.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if let Some(fraction) = fraction
            && !is_number(fraction)
        {
            return Err(match fraction.contains(self.decimal) {
                true => format!("`{}` is the decimal mark and occurs twice", self.decimal),
                false => String::new(),
            });
        }
        let mut plain = String::with_capacity(text.len());
        match whole.chars().find(|c| !c.is_ascii_digit()) {
            None if whole.is_empty() && fraction.is_none() => return Err(String::new()),
            None if whole.is_empty() => plain.push('0'),
            None => plain.push_str(whole),
            Some(separator) if self.groups.contains(&separator) => {
                let groups: Vec<&str> = whole.split(separator).collect();
                let well_formed = groups.iter().enumerate().all(|(at, group)| {
                    is_number(group) && (group.len() == 3 || at == 0 && group.len() < 3)
                });
                if !well_formed {
                    return Err(match separator {
                        ' ' => String::new(),
                        _ => format!("`{separator}` separates thousands"),
                    });
                }
                // 0.500 is most likely a number with another decimal mark.
                if groups[0].starts_with('0') {
                    return Err(format!(
                        "`{separator}` separates thousands, but there are none before it"
                    ));
                }
                plain.extend(groups);
            }
            Some(other) if ".,'’".contains(other) => {
                return Err(format!(
                    "`{other}` is neither the decimal mark nor separates thousands"
                ));
            }
            Some(_) => return Err(String::new()),
        }
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        Ok(plain)
    }
}

/// One form for the characters that look alike: spaces, and minus signs.
fn plain(c: char) -> char {
    match c {
        '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' => ' ',
        '\u{2212}' => '-',
        c => c,
    }
}

/// The text without a currency at one of its ends, and the currency.
fn without_currency(text: &str) -> Option<(&str, String)> {
    let (rest, currency) = split_currency(text)?;
    // The same currency, written in another way.
    let code = match currency.as_str() {
        "€" => "EUR",
        "£" => "GBP",
        "₹" => "INR",
        "₽" => "RUB",
        "Fr." => "CHF",
        "Kč" => "CZK",
        "zł" => "PLN",
        "Ft" => "HUF",
        "R$" => "BRL",
        "lei" => "RON",
        "kr." => "kr",
        other => other,
    };
    Some((rest, code.to_owned()))
}

fn split_currency(text: &str) -> Option<(&str, String)> {
    for currency in CURRENCIES {
        // `kr` must not be part of a word.
        let apart = |rest: &str, inner: Option<char>| {
            !rest.is_empty() && !inner.is_some_and(char::is_alphabetic)
        };
        if let Some(rest) = text.strip_prefix(currency)
            && apart(rest, rest.chars().next())
        {
            return Some((rest.trim_start(), currency.to_owned()));
        }
        if let Some(rest) = text.strip_suffix(currency)
            && apart(rest, rest.chars().next_back())
        {
            return Some((rest.trim_end(), currency.to_owned()));
        }
    }
    let is_symbol =
        |c: char| matches!(c, '$' | '¢'..='¥' | '\u{58f}' | '\u{e3f}' | '\u{20a0}'..='\u{20cf}');
    let (first, last) = (text.chars().next()?, text.chars().next_back()?);
    if is_symbol(first) {
        let rest = text[first.len_utf8()..].trim_start();
        return Some((rest, first.to_string()));
    }
    if is_symbol(last) {
        let rest = text[..text.len() - last.len_utf8()].trim_end();
        return Some((rest, last.to_string()));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(locale: &str, text: &str) -> Result<(f64, String), String> {
        let number = Locale::parse(locale).unwrap().number(text)?;
        let unit = match number.unit {
            Unit::None => String::new(),
            Unit::Percent => "%".to_owned(),
            Unit::Currency(currency) => currency,
        };
        Ok((number.value, unit))
    }

    #[test]
    fn numbers_are_read_as_they_are_written_in_a_country() {
        for (locale, text, value, unit) in [
            ("de", "1.234.567,5", 1_234_567.5, ""),
            ("de", "1 234,50", 1234.5, ""),
            ("de", "1.234", 1234.0, ""),
            ("de", "12,5 %", 0.125, "%"),
            ("de", "-0,07%", -0.0007, "%"),
            ("de", "1.234,50 €", 1234.5, "EUR"),
            ("de", "EUR -3", -3.0, "EUR"),
            ("de", "1.234,50-", -1234.5, ""),
            ("de", "(7)", -7.0, ""),
            ("de", "\u{2212}7", -7.0, ""),
            ("de", ",5", 0.5, ""),
            ("de", "007", 7.0, ""),
            ("de-CH", "CHF 1’234'567.80", 0.0, "no"),
            ("de-CH", "Fr. 1'234.80", 1234.8, "CHF"),
            ("fr", "1\u{202f}234\u{a0}567,5", 1_234_567.5, ""),
            ("en-US", "$1,234.50", 1234.5, "$"),
            ("en-US", "-$5", -5.0, "$"),
            ("en-US", "$-5", -5.0, "$"),
            ("en-US", "($1,234)", -1234.0, "$"),
            ("en-US", "1,234,567", 1_234_567.0, ""),
            ("sv", "12 kr", 12.0, "kr"),
            ("pl", "12,50 zł", 12.5, "PLN"),
            ("pt", "R$ 1.234,50", 1234.5, "BRL"),
        ] {
            let want = (value, unit.to_owned());
            match unit {
                // Two separators in one number.
                "no" => assert!(read(locale, text).is_err(), "{locale} {text}"),
                _ => assert_eq!(read(locale, text), Ok(want), "{locale} {text}"),
            }
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (locale, text, reason) in [
            ("de", "12.5", "`.` separates thousands"),
            ("de", "1234.567", "`.` separates thousands"),
            (
                "de",
                "0.500",
                "`.` separates thousands, but there are none before it",
            ),
            (
                "de",
                "1,234,567",
                "`,` is the decimal mark and occurs twice",
            ),
            ("de", "1,234.5", ""),
            (
                "de",
                "1'234",
                "`'` is neither the decimal mark nor separates thousands",
            ),
            (
                "fr",
                "1.5",
                "`.` is neither the decimal mark nor separates thousands",
            ),
            ("en-US", "1,5", "`,` separates thousands"),
            (
                "en-US",
                "1.234.567",
                "`.` is the decimal mark and occurs twice",
            ),
            ("de", "", ""),
            ("de", "-", ""),
            ("de", "€", ""),
            ("de", "--5", ""),
            ("de", "-5-", ""),
            ("de", "5 % €", ""),
            ("de", "€5$", ""),
            ("de", "12 kg", ""),
            ("de", "12 Akr", ""),
            ("de", "1  234", ""),
            ("de", "12,", ""),
            ("de", "x", ""),
            ("de", "inf", ""),
        ] {
            assert_eq!(
                read(locale, text),
                Err(reason.to_owned()),
                "{locale} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            whole in 0u64..1_000_000_000_000,
            fraction in proptest::option::of("[0-9]{1,4}"),
            negative in any::<bool>(),
            grouped in any::<bool>(),
            at in 0..Locale::NAMES.len(),
            currency in proptest::sample::select(vec!["", "€", "EUR", "$"]),
        ) {
            let locale = Locale::parse(Locale::NAMES[at]).unwrap();
            let digits = whole.to_string();
            let mut text = String::new();
            for (i, digit) in digits.char_indices() {
                if grouped && i > 0 && (digits.len() - i) % 3 == 0 {
                    text.push(locale.groups[0]);
                }
                text.push(digit);
            }
            let mut plain = digits.clone();
            if let Some(fraction) = &fraction {
                text = format!("{text}{}{fraction}", locale.decimal);
                plain = format!("{plain}.{fraction}");
            }
            if negative {
                text.insert(0, '-');
                plain.insert(0, '-');
            }
            let read = locale.number(format!("{text} {currency}").trim()).unwrap();
            prop_assert_eq!(read.value, plain.parse::<f64>().unwrap());
        }

        /// Whatever is accepted has exactly the digits of the number.
        #[test]
        fn no_digit_is_lost(text in "[-(]?[0-9]{0,4}([.,'’ ][0-9]{1,4}){0,3}[)%]?", at in 0..Locale::NAMES.len()) {
            let locale = Locale::parse(Locale::NAMES[at]).unwrap();
            if let Ok(number) = locale.number(&text) {
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                let fraction = match text.split_once(locale.decimal) {
                    Some((_, fraction)) => fraction.chars().filter(char::is_ascii_digit).count(),
                    None => 0,
                };
                let shift = fraction + if number.unit == Unit::Percent { 2 } else { 0 };
                let want: f64 = format!("{digits}e-{shift}").parse().unwrap();
                prop_assert_eq!(number.value.abs(), want);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), at in 0..Locale::NAMES.len()) {
            let _ = Locale::parse(Locale::NAMES[at]).unwrap().number(&text);
        }
    }
}
