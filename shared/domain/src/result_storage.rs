//! How the result of a run is stored: all objects under `results/<run>/`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::storage::{ArchiveClass, RestoreSpeed};

/// The state of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultState {
    /// It can be read.
    Hot,
    /// Its objects are being moved into an archive class.
    Archiving,
    /// All its objects are archived.
    Archived,
    /// Its objects are being restored and moved back.
    Restoring,
    /// Its objects are deleted, or being deleted.
    Deleted,
}

impl ResultState {
    /// All states.
    pub const ALL: [ResultState; 5] = [
        ResultState::Hot,
        ResultState::Archiving,
        ResultState::Archived,
        ResultState::Restoring,
        ResultState::Deleted,
    ];

    /// The name in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            ResultState::Hot => "hot",
            ResultState::Archiving => "archiving",
            ResultState::Archived => "archived",
            ResultState::Restoring => "restoring",
            ResultState::Deleted => "deleted",
        }
    }
}

/// A restore of a result that someone requested, or that followed from a change of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRestore {
    /// How fast. It becomes slower if the service refuses it.
    pub speed: RestoreSpeed,
    /// When it was requested.
    pub requested: DateTime<Utc>,
    /// Who requested it.
    pub by: String,
}

/// How the result of a run is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultStorage {
    /// The state.
    pub state: ResultState,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The class that its objects are in, or are moved into or out of. `None`: it was never archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ArchiveClass>,
    /// The current restore, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<ResultRestore>,
}

impl ResultStorage {
    /// A result that was never archived.
    pub fn hot(since: DateTime<Utc>) -> ResultStorage {
        ResultStorage {
            state: ResultState::Hot,
            since,
            class: None,
            restore: None,
        }
    }

    /// Whether all objects can be read now.
    pub fn is_readable(&self) -> bool {
        let instant = self.class.is_some_and(|class| class.speeds().is_empty());
        match self.state {
            ResultState::Hot => true,
            ResultState::Archiving | ResultState::Archived | ResultState::Restoring => instant,
            ResultState::Deleted => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_that_need_no_restore_are_read_while_archived() {
        for state in ResultState::ALL {
            for class in ArchiveClass::ALL {
                let storage = ResultStorage {
                    state,
                    class: Some(class),
                    ..ResultStorage::hot(DateTime::UNIX_EPOCH)
                };
                let expected = match state {
                    ResultState::Hot => true,
                    ResultState::Deleted => false,
                    _ => class == ArchiveClass::InstantRetrieval,
                };
                assert_eq!(storage.is_readable(), expected, "{storage:?}");
            }
        }
    }
}
