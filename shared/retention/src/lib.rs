//! Tiers of submitters: how large a workbook may be, how long its result can be downloaded, and what
//! archiving it costs and saves.
//!
//! Pure: everything that it depends on is an argument. Without a file of tiers there are no tiers.
//! No stage and no command reads the file yet.
//!
//! | module | content |
//! |---|---|
//! | `tier` | what a tier is |
//! | `file` | the file of tiers, `tiers.toml` |
//! | `amount` | exact amounts of money |
//! | `cost` | what archiving and restoring cost, from the sizes of objects |

mod amount;
mod cost;
mod file;
mod tier;

pub use amount::Amount;
pub use cost::{Archiving, Objects, Restoring};
pub use file::{FileError, TiersError};
pub use tier::{Tier, Tiers, UnknownTier};
