//! What a tier is.

use std::collections::BTreeMap;
use std::time::Duration;

use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};

use crate::cost::{Archiving, Objects};

/// What a submitter may upload, and what happens to the results.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The most bytes of a workbook. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// The most records of a run. `None`: no limit.
    pub max_records: Option<u32>,
    /// The most that a run may be planned to cost, in USD. `None`: no limit.
    pub max_cost: Option<f64>,
    /// When a result is archived, counted from its delivery. `None`: never.
    pub archive_after: Option<Duration>,
    /// When a result is deleted, counted from its delivery. After `archive_after`. `None`: never.
    pub delete_after: Option<Duration>,
    /// The storage class of archived results.
    pub storage: ArchiveClass,
    /// The speed that a restore starts with. `None`: archived results are read without one.
    pub restore: Option<RestoreSpeed>,
}

impl Default for Tier {
    /// No limits, and results stay. As a key that the file does not have.
    fn default() -> Tier {
        let storage = ArchiveClass::FlexibleRetrieval;
        Tier {
            max_bytes: None,
            max_records: None,
            max_cost: None,
            archive_after: None,
            delete_after: None,
            storage,
            restore: storage.speeds().first().copied(),
        }
    }
}

impl Tier {
    /// How long a result is archived. `None`: it is never archived, or never deleted.
    pub fn archived_for(&self) -> Option<Duration> {
        self.delete_after?.checked_sub(self.archive_after?)
    }

    /// What archiving a result with these objects costs and saves. `None`: the tier does not archive.
    pub fn archiving(&self, objects: Objects) -> Option<Archiving> {
        self.archive_after?;
        Some(Archiving::new(objects, self.storage))
    }

    /// Says that archiving results of these sizes costs more than it saves, why, and what to do.
    /// `None` if it saves, or if nothing is archived. `name` is the name of the tier.
    pub fn warning(&self, name: &str, objects: Objects) -> Option<String> {
        let archiving = self.archiving(objects)?;
        let (count, bytes) = (objects.count, objects.bytes);
        let noun = if count == 1 { "object" } else { "objects" };
        let what = format!("tier `{name}`: archiving {count} {noun} of {bytes} bytes");
        let Some(even) = archiving.break_even() else {
            return Some(format!(
                "{what} never saves anything, because of what S3 bills for each archived object; \
                 set `archive_after = \"never\"`"
            ));
        };
        let kept = self.archived_for()?;
        let saved = archiving.saved(kept);
        if !saved.is_negative() {
            return None;
        }
        Some(format!(
            "{what} for {} costs {} more than it saves; it saves only from {} on: set `delete_after` \
             later, or `archive_after = \"never\"`",
            days(kept),
            saved.abs(),
            days(even),
        ))
    }
}

/// A duration in days, rounded up: `90 days`.
fn days(duration: Duration) -> String {
    match duration.as_secs().div_ceil(86_400) {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A tier that the file does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tier `{name}`; tiers.toml has {}", known.join(", "))]
pub struct UnknownTier {
    /// The name.
    pub name: String,
    /// The names in the file.
    pub known: Vec<String>,
}

/// The tiers of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiers {
    pub(crate) default: String,
    pub(crate) tiers: BTreeMap<String, Tier>,
}

impl Tiers {
    /// Returns the name of the tier of those who were not given one. The file has it.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Returns a tier.
    ///
    /// # Errors
    /// The file does not have it.
    pub fn tier(&self, name: &str) -> Result<&Tier, UnknownTier> {
        self.tiers.get(name).ok_or_else(|| UnknownTier {
            name: name.to_owned(),
            known: self.tiers.keys().cloned().collect(),
        })
    }

    /// Returns all tiers with their names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tier)> {
        self.tiers.iter().map(|(name, tier)| (name.as_str(), tier))
    }
}
