//! The tiers that apply now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::{Submitter, keys};
use rowmill_ports::{PortError, Submitters};
use rowmill_runs::WorkBucket;

use crate::file::TiersError;
use crate::tier::{Tier, Tiers};

/// How long a file that was read counts as the current one. Every upload needs it, and it hardly changes.
const READ_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The file of tiers of a deployment: [`keys::TIERS`] in the work bucket, read at most once a minute.
/// Clones share what was read.
#[derive(Clone, Debug)]
pub struct CurrentTiers {
    work: WorkBucket,
    read: Arc<Mutex<Option<FileRead>>>,
}

/// When the file was read, and its content. `None`: there was no file.
type FileRead = (DateTime<Utc>, Option<Arc<Tiers>>);

/// Why the tiers that apply are not known.
#[derive(Debug, thiserror::Error)]
pub enum CurrentTiersError {
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The file has errors.
    #[error(transparent)]
    File(#[from] TiersError),
}

/// The tier of a submitter.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmitterTier {
    /// The submitter.
    pub submitter: Submitter,
    /// The name of the tier.
    pub name: String,
    /// The tier. [`Tier::default`], which limits and archives nothing, if the submitter was given a tier
    /// that the file no longer has: nobody loses a result because of an edit of the file.
    pub tier: Tier,
}

impl CurrentTiers {
    /// The tiers of the deployment with this work bucket.
    pub fn new(work: WorkBucket) -> CurrentTiers {
        CurrentTiers {
            work,
            read: Arc::default(),
        }
    }

    /// Returns the tiers. `None`: there is no file, so there are no tiers.
    ///
    /// # Errors
    /// The file cannot be read, or has errors.
    pub async fn tiers(&self, now: DateTime<Utc>) -> Result<Option<Arc<Tiers>>, CurrentTiersError> {
        if let Some(tiers) = self.known(now) {
            return Ok(tiers);
        }
        let tiers = match self.work.find(keys::TIERS).await? {
            None => None,
            Some(file) => {
                let text = String::from_utf8_lossy(&file);
                Some(Arc::new(Tiers::parse(keys::TIERS, &text)?))
            }
        };
        *self.last_read() = Some((now, tiers.clone()));
        Ok(tiers)
    }

    /// What was read less than a minute ago.
    fn known(&self, now: DateTime<Utc>) -> Option<Option<Arc<Tiers>>> {
        let (at, tiers) = self.last_read().clone()?;
        (now - at < READ_EVERY).then_some(tiers)
    }

    fn last_read(&self) -> MutexGuard<'_, Option<FileRead>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tier of a submitter: the one that they were given, otherwise the default tier. `None`:
    /// there are no tiers.
    ///
    /// # Errors
    /// As [`CurrentTiers::tiers`], or the submitter cannot be read.
    pub async fn tier_of(
        &self,
        submitters: &dyn Submitters,
        submitter: &Submitter,
        now: DateTime<Utc>,
    ) -> Result<Option<SubmitterTier>, CurrentTiersError> {
        let Some(tiers) = self.tiers(now).await? else {
            return Ok(None);
        };
        let given = submitters.given_tier(submitter).await?;
        let name = given.map_or_else(|| tiers.default_name().to_owned(), |given| given.name);
        let tier = tiers.tier(&name).cloned().unwrap_or_else(|error| {
            tracing::error!(%submitter, %error, "the tier of a submitter does not exist");
            Tier::default()
        });
        Ok(Some(SubmitterTier {
            submitter: submitter.clone(),
            name,
            tier,
        }))
    }
}
