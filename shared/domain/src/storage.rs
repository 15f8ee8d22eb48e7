//! Storage classes that results are archived in, and how fast they are restored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A storage class of S3 for archived objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveClass {
    /// S3 Glacier Instant Retrieval: `instant_retrieval`. Objects can be read at any time.
    InstantRetrieval,
    /// S3 Glacier Flexible Retrieval: `flexible_retrieval`.
    FlexibleRetrieval,
    /// S3 Glacier Deep Archive: `deep_archive`.
    DeepArchive,
}

impl ArchiveClass {
    /// All classes, the fastest to read first.
    pub const ALL: [ArchiveClass; 3] = [
        ArchiveClass::InstantRetrieval,
        ArchiveClass::FlexibleRetrieval,
        ArchiveClass::DeepArchive,
    ];

    /// The name in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            ArchiveClass::InstantRetrieval => "instant_retrieval",
            ArchiveClass::FlexibleRetrieval => "flexible_retrieval",
            ArchiveClass::DeepArchive => "deep_archive",
        }
    }

    /// The speeds that objects of this class can be restored with, the fastest first. Empty if they
    /// can be read without being restored. Source: Amazon S3 User Guide, "Understanding archive
    /// retrieval options".
    pub const fn speeds(self) -> &'static [RestoreSpeed] {
        match self {
            ArchiveClass::InstantRetrieval => &[],
            ArchiveClass::FlexibleRetrieval => &[
                RestoreSpeed::Expedited,
                RestoreSpeed::Standard,
                RestoreSpeed::Bulk,
            ],
            ArchiveClass::DeepArchive => &[RestoreSpeed::Standard, RestoreSpeed::Bulk],
        }
    }

    /// The longest time that S3 usually takes to restore an object. `None`: it does not offer this
    /// speed for the class. Source: Amazon S3 User Guide, "Understanding archive retrieval options".
    pub const fn restored_within(self, speed: RestoreSpeed) -> Option<Duration> {
        const HOUR: u64 = 3600;
        let seconds = match (self, speed) {
            (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Expedited) => 5 * 60,
            (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Standard) => 5 * HOUR,
            (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Bulk) => 12 * HOUR,
            (ArchiveClass::DeepArchive, RestoreSpeed::Standard) => 12 * HOUR,
            (ArchiveClass::DeepArchive, RestoreSpeed::Bulk) => 48 * HOUR,
            (ArchiveClass::DeepArchive, RestoreSpeed::Expedited)
            | (ArchiveClass::InstantRetrieval, _) => return None,
        };
        Some(Duration::from_secs(seconds))
    }
}

/// How fast S3 restores an archived object. Faster costs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreSpeed {
    /// Minutes: `expedited`. S3 may refuse it for lack of capacity.
    Expedited,
    /// Hours: `standard`.
    Standard,
    /// Up to two days: `bulk`.
    Bulk,
}

impl RestoreSpeed {
    /// All speeds, the fastest first.
    pub const ALL: [RestoreSpeed; 3] = [
        RestoreSpeed::Expedited,
        RestoreSpeed::Standard,
        RestoreSpeed::Bulk,
    ];

    /// The name in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            RestoreSpeed::Expedited => "expedited",
            RestoreSpeed::Standard => "standard",
            RestoreSpeed::Bulk => "bulk",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_a_time_for_exactly_the_speeds_that_it_offers() {
        for class in ArchiveClass::ALL {
            let timed: Vec<_> = RestoreSpeed::ALL
                .into_iter()
                .filter(|speed| class.restored_within(*speed).is_some())
                .collect();
            assert_eq!(timed, class.speeds(), "{}", class.name());
        }
    }
}
