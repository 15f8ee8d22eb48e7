//! Tiers of submitters: how large a workbook may be, how long its result can be downloaded, and what
//! archiving it costs and saves.
//!
//! Without a file of tiers there are no tiers. Except for `current`, everything that the crate depends on
//! is an argument.
//!
//! | module | content |
//! |---|---|
//! | `tier` | what a tier is |
//! | `file` | the file of tiers, `tiers.toml` |
//! | `current` | the tiers that apply now, and the tier of a submitter |
//! | `change` | giving a submitter another tier |
//! | `amount` | exact amounts of money |
//! | `cost` | what archiving and restoring cost, from the sizes of objects |

mod amount;
mod change;
mod cost;
mod current;
mod file;
mod tier;

pub use amount::Amount;
pub use change::change_tier;
pub use cost::{Archiving, Objects, Restoring};
pub use current::{CurrentTiers, CurrentTiersError, SubmitterTier};
pub use file::{FileError, TiersError};
pub use tier::{Tier, Tiers, UnknownTier};
