//! Money, times and limits as people read them.

pub(crate) use rowmill_domain::cost::usd;
use rowmill_pipeline::BatchSettings;

use crate::output::thousands;

/// An amount of USD: `1,204 USD`, `6.18 USD`, `0.0042 USD`.
pub(crate) fn money(amount: f64) -> String {
    format!("{} USD", usd(amount))
}

/// The limits that a pipeline sets for its runs, by their keys: `max_cost 5.00 USD`.
pub(crate) fn limits(batch: &BatchSettings) -> Option<String> {
    let limits = [
        batch
            .max_cost
            .map(|most| format!("max_cost {}", money(most))),
        batch
            .max_records
            .map(|most| format!("max_records {}", thousands(most.into()))),
        batch
            .within
            .map(|target| format!("within {}", time(target.as_secs_f64()))),
        batch.tolerate.map(|bad| format!("tolerate {bad}")),
        batch.stop_after.map(|bad| format!("stop_after {bad}")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

/// Seconds in the largest unit that suits: `45 s`, `11 min 4 s`, `13.9 h`.
pub(crate) fn time(seconds: f64) -> String {
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
