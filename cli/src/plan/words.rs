//! Money and times as people read them.

use crate::output::thousands;

/// An amount of USD, with more digits the smaller it is: `1,204 USD`, `6.18 USD`, `0.0042 USD`.
pub(super) fn money(usd: f64) -> String {
    match usd {
        usd if usd >= 1000.0 => format!("{} USD", thousands(usd.round() as u64)),
        usd if usd >= 0.1 => format!("{usd:.2} USD"),
        usd => format!("{usd:.4} USD"),
    }
}

/// Seconds in the largest unit that suits: `45 s`, `11 min 4 s`, `13.9 h`.
pub(super) fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_times_are_readable() {
        assert_eq!(money(1203.6), "1,204 USD");
        assert_eq!(money(6.181), "6.18 USD");
        assert_eq!(money(0.00421), "0.0042 USD");
        assert_eq!(time(45.2), "45 s");
        assert_eq!(time(664.0), "11 min 4 s");
        assert_eq!(time(50_027.0), "13.9 h");
    }
}
