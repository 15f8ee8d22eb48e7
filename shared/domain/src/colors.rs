//! The colors of workbook, mail and page. This is the one place that defines them, and the tests
//! check that they are readable.
//!
//! A color never stands alone: a word or a sign always says the same.

use serde::Serialize;

/// The colors of one meaning, such as `failed`. Each is `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ColorPair {
    /// Text on [`Theme::background`] and on `tint`.
    pub text: &'static str,
    /// A background, for the texts `text` and [`Theme::text`].
    pub tint: &'static str,
}

/// The colors on a light or on a dark background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Theme {
    /// The background of the page.
    pub background: &'static str,
    /// Text.
    pub text: &'static str,
    /// Text that matters less.
    pub muted: &'static str,
    /// Lines between parts. Not text, so that no contrast is required.
    pub line: &'static str,
    /// Processed rows.
    pub ok: ColorPair,
    /// Rows that failed.
    pub failed: ColorPair,
    /// Rows without an outcome.
    pub missing: ColorPair,
    /// Rows that were not processed.
    pub rejected: ColorPair,
    /// Links, and what a run added.
    pub accent: ColorPair,
    /// The background of the headers of what a run added.
    pub accent_header: &'static str,
}

/// The colors on a light background. A workbook has only these.
pub const LIGHT: Theme = Theme {
    background: "#ffffff",
    text: "#1f2328",
    muted: "#57606a",
    line: "#d0d7de",
    ok: ColorPair {
        text: "#1a7f37",
        tint: "#eef8f0",
    },
    failed: ColorPair {
        text: "#b42318",
        tint: "#fdeceb",
    },
    missing: ColorPair {
        text: "#b54708",
        tint: "#fff4e5",
    },
    rejected: ColorPair {
        text: "#57606a",
        tint: "#f0f2f4",
    },
    accent: ColorPair {
        text: "#0b5fff",
        tint: "#f2f6ff",
    },
    accent_header: "#dbe7ff",
};

/// The colors on a dark background.
pub const DARK: Theme = Theme {
    background: "#14171c",
    text: "#e6e8eb",
    muted: "#a3adb8",
    line: "#363d46",
    ok: ColorPair {
        text: "#4ac26b",
        tint: "#12261a",
    },
    failed: ColorPair {
        text: "#ff8f85",
        tint: "#331614",
    },
    missing: ColorPair {
        text: "#f5a652",
        tint: "#2f1f0b",
    },
    rejected: ColorPair {
        text: "#a3adb8",
        tint: "#20252b",
    },
    accent: ColorPair {
        text: "#82adff",
        tint: "#111f3a",
    },
    accent_header: "#1b2f57",
};

/// The number of a color: `#1a7f37` is `0x1a7f37`. 0 if it is not a color.
pub fn rgb(color: &str) -> u32 {
    u32::from_str_radix(color.trim_start_matches('#'), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least contrast of text. Source: WCAG 2.2, success criterion 1.4.3 (level AA).
    const LEAST: f64 = 4.5;

    /// Source: WCAG 2.2, definition of relative luminance.
    fn luminance(color: &str) -> f64 {
        let part = |shift: u32| {
            let part = f64::from(rgb(color) >> shift & 0xff) / 255.0;
            match part <= 0.04045 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }

    /// Source: WCAG 2.2, definition of contrast ratio.
    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn the_contrast_is_that_of_the_definition() {
        assert_eq!(contrast("#000000", "#ffffff"), 21.0);
        // The grey that is often named as the lightest one allowed on white.
        assert!((contrast("#767676", "#ffffff") - 4.54).abs() < 0.01);
        assert!(contrast("#777777", "#ffffff") < LEAST);
    }

    #[test]
    fn every_text_is_readable_on_its_background() {
        for theme in [LIGHT, DARK] {
            let mut pairs = vec![
                (theme.text, theme.background),
                (theme.muted, theme.background),
                (theme.text, theme.accent_header),
            ];
            let meanings = [
                theme.ok,
                theme.failed,
                theme.missing,
                theme.rejected,
                theme.accent,
            ];
            for ColorPair { text, tint } in meanings {
                pairs.extend([(text, theme.background), (text, tint)]);
                pairs.extend([(theme.text, tint), (theme.muted, tint)]);
            }
            for (text, background) in pairs {
                let found = contrast(text, background);
                assert!(found >= LEAST, "{text} on {background}: {found:.2}");
            }
        }
    }
}
