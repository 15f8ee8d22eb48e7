//! Exact amounts of money.

use std::fmt;
use std::ops::{Add, Neg, Sub};

use rowmill_planning::prices::MONTH_DAYS;

/// Bytes of a GB in prices of S3.
const GB: i128 = 1 << 30;
/// Seconds of a month in prices of S3.
const MONTH: i128 = MONTH_DAYS as i128 * 86_400;
/// Units of [`Amount`] in a billionth of a USD.
const NANO: i128 = GB * MONTH;

/// An amount in USD. Sums and differences of storage, requests and retrieval are exact: the unit is
/// what one byte costs for one second at a billionth of a USD per GB and month. Amounts saturate beyond
/// 10^13 USD.
///
/// It displays in USD, rounded to a millionth away from zero, without trailing zeros: `$0.0036`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// Creates the price of `count` things that cost `nano` billionths of a USD each.
    pub fn each(count: u64, nano: u64) -> Amount {
        let nano = i128::from(nano) * i128::from(count);
        Amount(nano.saturating_mul(NANO))
    }

    /// Creates the price of bytes, at `nano` billionths of a USD per GB.
    pub fn gb(bytes: u128, nano: u64) -> Amount {
        Amount(units(bytes).saturating_mul(i128::from(nano) * MONTH))
    }

    /// Creates the price of bytes for some time, at `nano` billionths of a USD per GB and month.
    pub fn stored(bytes: u128, seconds: u64, nano: u64) -> Amount {
        let byte_seconds = units(bytes).saturating_mul(i128::from(seconds));
        Amount(byte_seconds.saturating_mul(i128::from(nano)))
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Returns the amount without its sign.
    pub fn abs(self) -> Amount {
        Amount(self.0.saturating_abs())
    }

    /// Returns the amount in USD, rounded to the nearest double.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANO as f64 / 1e9
    }

    /// Returns how many seconds a rate per second needs to reach this amount, rounded up. Both are
    /// above zero.
    pub(crate) fn seconds_at(self, rate: Amount) -> u64 {
        let seconds = self.0 / rate.0 + i128::from(self.0 % rate.0 != 0);
        u64::try_from(seconds).unwrap_or(u64::MAX)
    }
}

fn units(bytes: u128) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX)
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }
}

impl Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }
}

impl Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount(self.0.saturating_neg())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.0.unsigned_abs();
        let micro = units.div_ceil(NANO.unsigned_abs() * 1000);
        let sign = if self.is_negative() { "-" } else { "" };
        let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
        let text = text.trim_end_matches('0');
        // At least cents.
        match text.len() - text.find('.').unwrap_or(0) {
            1 => write!(f, "{sign}${text}00"),
            2 => write!(f, "{sign}${text}0"),
            _ => write!(f, "{sign}${text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_displayed_in_usd() {
        for (nano, text) in [
            (0, "$0.00"),
            (1, "$0.000001"),
            (3_600_000, "$0.0036"),
            (100_000_000, "$0.10"),
            (12_000_000_000, "$12.00"),
        ] {
            assert_eq!(Amount::each(1, nano).to_string(), text);
        }
        assert_eq!((-Amount::each(1, 5_000_000)).to_string(), "-$0.005");
    }

    #[test]
    fn a_gb_for_a_month_costs_its_price() {
        let month = 30 * 86_400;
        assert_eq!(Amount::stored(1 << 30, month, 7), Amount::each(1, 7));
        assert_eq!(Amount::gb(1 << 30, 7), Amount::each(1, 7));
        assert_eq!(Amount::stored(u128::MAX, u64::MAX, 9), Amount(i128::MAX));
    }
}
