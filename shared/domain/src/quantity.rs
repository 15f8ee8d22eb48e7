//! Quantities in configuration files: a number and a unit.

/// Splits `"512 MiB"` into the number, which must be above 0, and the unit.
pub fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    (number > 0.0 && number.is_finite()).then(|| (number, text[end..].trim_start()))
}

/// The seconds of a unit: `s`, `m` or `h`.
pub fn seconds(unit: &str) -> Option<f64> {
    match unit {
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}
