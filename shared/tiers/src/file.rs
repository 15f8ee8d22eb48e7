//! The file of tiers. It walks toml's spanned tree, so that every error has its position and all errors
//! are found, not only the first.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rowmill_domain::quantity;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::tier::{Tier, Tiers};

const ROOT: &[&str] = &["default", "tier"];
const TIER: &[&str] = &[
    "max_bytes",
    "max_records",
    "max_cost",
    "archive_after",
    "delete_after",
    "storage",
    "restore",
];
const DURATION: &str =
    "write \"30m\", \"12h\", \"90d\" or \"never\", from one minute to 3,650 days";
/// The shortest time: schedules have a precision of a minute.
const SECONDS_MIN: f64 = 60.0;
const SECONDS_MAX: f64 = 3650.0 * 86_400.0;

/// One error in a file of tiers: what is wrong, where, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}; {help}")]
pub struct FileError {
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

/// All errors in a file of tiers, in its order. There is at least one. It displays one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TiersError(pub Vec<FileError>);

impl fmt::Display for TiersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl Tiers {
    /// Parses a file of tiers. `name` is the name of the file in messages.
    ///
    /// # Errors
    /// The file is not TOML, or has unknown keys, wrong values, or no default tier.
    pub fn parse(name: &str, text: &str) -> Result<Tiers, TiersError> {
        let mut reader = Reader {
            name,
            text,
            errors: Vec::new(),
        };
        let tiers = reader.tiers();
        reader.errors.sort_by_key(|(at, _)| *at);
        match tiers {
            Some(tiers) if reader.errors.is_empty() => Ok(tiers),
            _ => Err(TiersError(
                reader.errors.into_iter().map(|(_, error)| error).collect(),
            )),
        }
    }
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    /// With their offsets.
    errors: Vec<(usize, FileError)>,
}

type Node<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn error(&mut self, at: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let start = self.text.floor_char_boundary(at.start);
        let before = &self.text[..start];
        let line = before.rfind('\n').map_or(0, |i| i + 1);
        self.errors.push((
            at.start,
            FileError {
                file: self.name.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line..].chars().count() + 1,
                message: message.into(),
                help: help.into(),
            },
        ));
    }

    /// `None`: there is at least one error.
    fn tiers(&mut self) -> Option<Tiers> {
        let root = match DeTable::parse(self.text) {
            Ok(root) => root,
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                self.error(at, error.message().trim(), "correct the TOML");
                return None;
            }
        };
        let root = root.get_ref();
        self.known(root, ROOT);
        let mut tiers = BTreeMap::new();
        match root.get("tier") {
            Some(node) => {
                for (name, node) in self.table(node, "tier")? {
                    let key: &str = name.get_ref();
                    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                    if key.is_empty() || !key.chars().all(plain) {
                        self.error(
                            name.span(),
                            format!("invalid name of a tier: {key:?}"),
                            "use lower-case letters, digits and hyphens",
                        );
                    }
                    if let Some(table) = self.table(node, key) {
                        tiers.insert(key.to_owned(), self.tier(table));
                    }
                }
            }
            None => self.error(0..0, "no tiers", "add a table such as `[tier.free]`"),
        }
        let Some(node) = root.get("default") else {
            self.error(
                0..0,
                "`default` is missing",
                "add a first line such as `default = \"free\"`",
            );
            return None;
        };
        let names: Vec<_> = tiers.keys().map(|name| format!("\"{name}\"")).collect();
        let default = self.text(node, "default")?;
        if !tiers.contains_key(default) {
            let help = match names.as_slice() {
                [] => format!("add a table `[tier.{default}]`"),
                names => format!("choose {}", names.join(" or ")),
            };
            self.error(node.span(), format!("unknown tier {default:?}"), help);
        }
        Some(Tiers {
            default: default.to_owned(),
            tiers,
        })
    }

    fn tier(&mut self, table: &DeTable<'_>) -> Tier {
        self.known(table, TIER);
        let whole = |reader: &mut Self, key| {
            let node = table.get(key)?;
            reader.whole(node, key)
        };
        let max_bytes = whole(self, "max_bytes");
        let max_records = whole(self, "max_records").and_then(|records| {
            let fits = u32::try_from(records).ok();
            if let (None, Some(node)) = (fits, table.get("max_records")) {
                self.error(
                    node.span(),
                    format!("`max_records` is above {}", u32::MAX),
                    "remove it: no sheet has that many rows",
                );
            }
            fits
        });
        let max_cost = table
            .get("max_cost")
            .and_then(|node| self.number(node, "max_cost"));
        let archive_after = table
            .get("archive_after")
            .and_then(|node| self.duration(node, "archive_after"));
        let delete_after = table
            .get("delete_after")
            .and_then(|node| self.duration(node, "delete_after"));
        if let (Some(archive), Some(delete), Some(node)) =
            (archive_after, delete_after, table.get("delete_after"))
            && delete <= archive
        {
            self.error(
                node.span(),
                "`delete_after` is not after `archive_after`; both count from the delivery",
                "make it longer, or set `archive_after = \"never\"`",
            );
        }
        let storage = table.get("storage").and_then(|node| {
            let classes = ArchiveClass::ALL.map(|class| (class.name(), class));
            self.one_of(node, "storage", &classes)
        });
        let storage = storage.unwrap_or(Tier::default().storage);
        let restore = table.get("restore").and_then(|node| {
            let speeds = RestoreSpeed::ALL.map(|speed| (speed.name(), speed));
            let speed = self.one_of(node, "restore", &speeds)?;
            if storage.speeds().contains(&speed) {
                return Some(speed);
            }
            let offered: Vec<_> = storage.speeds().iter().map(|s| s.name()).collect();
            let help = match offered.as_slice() {
                [] => "remove `restore`: these results are read without one".to_owned(),
                offered => format!("choose {}", offered.join(" or ")),
            };
            let message = format!("`{}` has no speed {:?}", storage.name(), speed.name());
            self.error(node.span(), message, help);
            None
        });
        for key in ["storage", "restore"] {
            if let (None, Some(node)) = (archive_after, table.get(key)) {
                self.error(
                    node.span(),
                    format!("`{key}` has no effect: the tier never archives"),
                    format!("set `archive_after`, or remove `{key}`"),
                );
            }
        }
        Tier {
            max_bytes,
            max_records,
            max_cost,
            archive_after,
            delete_after,
            storage,
            restore: restore.or(storage.speeds().first().copied()),
        }
    }

    /// Records an error for each key that is not known.
    fn known(&mut self, table: &DeTable<'_>, keys: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let help = format!("the keys here are {}", keys.join(", "));
                self.error(key.span(), format!("unknown key `{name}`"), help);
            }
        }
    }

    fn wrong(&mut self, node: &Node<'_>, key: &str, wanted: &str) {
        let is = match node.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "this number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(
            node.span(),
            format!("`{key}` is {is}"),
            format!("write {wanted}"),
        );
    }

    fn table<'n>(&mut self, node: &'n Node<'n>, key: &str) -> Option<&'n DeTable<'n>> {
        match node.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong(node, key, "a table such as `[tier.free]`");
                None
            }
        }
    }

    fn text<'n>(&mut self, node: &'n Node<'n>, key: &str) -> Option<&'n str> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.wrong(node, key, "a text in quotes");
        }
        text
    }

    fn one_of<T: Copy>(&mut self, node: &Node<'_>, key: &str, all: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        let found = all.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = all.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.error(
                node.span(),
                format!("invalid value {text:?} for `{key}`"),
                format!("choose {}", names.join(" or ")),
            );
        }
        found.map(|(_, value)| *value)
    }

    fn whole(&mut self, node: &Node<'_>, key: &str) -> Option<u64> {
        let value = match node.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        let value = value.filter(|n| *n > 0);
        if value.is_none() {
            self.wrong(
                node,
                key,
                "a whole number above 0, or remove the key for no limit",
            );
        }
        value
    }

    fn number(&mut self, node: &Node<'_>, key: &str) -> Option<f64> {
        let value: Option<f64> = match node.get_ref() {
            DeValue::Integer(i) => u32::from_str_radix(i.as_str(), i.radix())
                .ok()
                .map(f64::from),
            DeValue::Float(f) => f.as_str().parse().ok(),
            _ => None,
        };
        let value = value.filter(|n| n.is_finite() && *n > 0.0);
        if value.is_none() {
            self.wrong(node, key, "an amount in USD above 0, such as 2.5");
        }
        value
    }

    /// `None` for `"never"`, too.
    fn duration(&mut self, node: &Node<'_>, key: &str) -> Option<Duration> {
        let text = self.text(node, key)?;
        if text.trim() == "never" {
            return None;
        }
        let duration = duration(text);
        if duration.is_none() {
            let message = format!("invalid value {text:?} for `{key}`");
            self.error(node.span(), message, DURATION);
        }
        duration
    }
}

/// Parses a duration as pipelines have it, and days: `"30m"`, `"1.5 h"`, `"90d"`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = quantity::split(text)?;
    let seconds = match unit {
        "d" => number * 86_400.0,
        unit => number * quantity::seconds(unit)?,
    };
    (SECONDS_MIN..=SECONDS_MAX)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds.round() as u64))
}
