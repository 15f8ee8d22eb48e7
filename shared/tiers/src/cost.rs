//! What archiving and restoring cost, from the sizes of objects, at the list prices of the planner.
//!
//! Each object takes one request: copies of up to 5 GB, the most that S3 copies with one.

use std::time::Duration;

use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_planning::prices::{
    STANDARD, STANDARD_GET, archive, archive_bytes_min, archive_days_min, archive_overhead,
    retrieval,
};

use crate::amount::Amount;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Days that the copy of a restored object exists: the least that S3 accepts.
const COPY_DAYS: u64 = 1;

/// The objects that are archived together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u128,
    /// The bytes that they lack to be of the size that Glacier Instant Retrieval bills at least.
    lacking: u128,
}

impl FromIterator<u64> for Objects {
    /// `sizes`: the bytes of each object.
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Objects {
        let least = archive_bytes_min(ArchiveClass::InstantRetrieval);
        let mut objects = Objects::default();
        for size in sizes {
            objects.count += 1;
            objects.bytes += u128::from(size);
            objects.lacking += u128::from(least.saturating_sub(size));
        }
        objects
    }
}

impl Objects {
    /// Bytes that are billed in the class and, beside it, in S3 Standard.
    fn billed(self, class: ArchiveClass) -> (u128, u128) {
        let lacking = match archive_bytes_min(class) {
            0 => 0,
            _ => self.lacking,
        };
        let (in_class, in_standard) = archive_overhead(class);
        let count = u128::from(self.count);
        (
            self.bytes + lacking + count * u128::from(in_class),
            count * u128::from(in_standard),
        )
    }
}

/// What archiving some objects costs and saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archiving {
    objects: Objects,
    class: ArchiveClass,
}

impl Archiving {
    /// Objects that are copied from S3 Standard to a class.
    pub fn new(objects: Objects, class: ArchiveClass) -> Archiving {
        Archiving { objects, class }
    }

    /// Requests, once: each object is read and put into the class.
    pub fn requests(self) -> Amount {
        Amount::each(self.objects.count, STANDARD_GET + archive(self.class).put)
    }

    /// What the objects would cost in S3 Standard for some time.
    pub fn standard(self, kept: Duration) -> Amount {
        Amount::stored(self.objects.bytes, kept.as_secs(), STANDARD.gb_month)
    }

    /// What archived objects cost for some time, with what S3 adds to each, without
    /// [`early`](Archiving::early).
    pub fn archived(self, kept: Duration) -> Amount {
        let (in_class, in_standard) = self.objects.billed(self.class);
        Amount::stored(in_class, kept.as_secs(), archive(self.class).gb_month)
            + Amount::stored(in_standard, kept.as_secs(), STANDARD.gb_month)
    }

    /// What S3 bills besides if objects are deleted, or restored for good, after some time: the rest
    /// of the class's minimum storage duration.
    pub fn early(self, kept: Duration) -> Amount {
        let rest = self.seconds_min().saturating_sub(kept.as_secs());
        let (in_class, _) = self.objects.billed(self.class);
        Amount::stored(in_class, rest, archive(self.class).gb_month)
    }

    /// What is saved if the objects are archived for some time and then deleted. Negative if
    /// archiving costs more than it saves.
    pub fn saved(self, kept: Duration) -> Amount {
        self.standard(kept) - self.requests() - self.archived(kept) - self.early(kept)
    }

    /// Returns the shortest time, in whole seconds, from which archiving does not cost more than it
    /// saves. `None`: it never saves anything.
    pub fn break_even(self) -> Option<Duration> {
        let second = Duration::from_secs(1);
        let (_, in_standard) = self.objects.billed(self.class);
        let least = Duration::from_secs(self.seconds_min());
        // Before the minimum duration is over, the class costs the same at any time.
        let beside = Amount::stored(in_standard, 1, STANDARD.gb_month);
        let before = self.standard(second) - beside;
        if before <= Amount::ZERO {
            return None;
        }
        let seconds = if self.saved(least).is_negative() {
            let after = self.standard(second) - self.archived(second);
            if after <= Amount::ZERO {
                return None;
            }
            self.requests().seconds_at(after)
        } else {
            (self.requests() + self.early(Duration::ZERO)).seconds_at(before)
        };
        Some(Duration::from_secs(seconds))
    }

    /// What restoring the objects costs, `kept` after they were archived. `None`: S3 does not offer
    /// this speed for the class.
    pub fn restoring(self, speed: RestoreSpeed, kept: Duration) -> Option<Restoring> {
        let prices = retrieval(self.class, speed)?;
        let Objects { count, bytes, .. } = self.objects;
        Some(Restoring {
            retrieved: Amount::gb(bytes, prices.gb),
            requests: Amount::each(count, prices.request),
            copies: Amount::each(count, STANDARD_GET + STANDARD.put)
                + Amount::stored(bytes, COPY_DAYS * DAY, STANDARD.gb_month),
            early: self.early(kept),
            within: self.class.restored_within(speed)?,
        })
    }

    fn seconds_min(self) -> u64 {
        archive_days_min(self.class) * DAY
    }
}

/// What restoring objects for good costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restoring {
    /// Retrieval, by bytes.
    pub retrieved: Amount,
    /// Retrieval, by objects.
    pub requests: Amount,
    /// The temporary copies in S3 Standard for a day, and copying them back.
    pub copies: Amount,
    /// The rest of the minimum storage duration. See [`Archiving::early`].
    pub early: Amount,
    /// The longest time that S3 usually takes, without the copy back.
    pub within: Duration,
}

impl Restoring {
    /// Returns the sum.
    pub fn total(&self) -> Amount {
        self.retrieved + self.requests + self.copies + self.early
    }
}
