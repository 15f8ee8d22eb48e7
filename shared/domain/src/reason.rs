//! Why rows have no result, as mail, workbook and terminal show it.

use serde::{Deserialize, Serialize};

/// Rows that have no result for the same reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `failed`, `missing` or `rejected`.
    pub status: String,
    /// The reason of the first of these rows.
    pub text: String,
    /// The number of these rows.
    pub count: u64,
    /// The numbers of the first of these rows in the input. Empty if they are not known.
    pub rows: Vec<u32>,
    /// What to do, as a sentence. Empty if there is nothing to do.
    pub advice: String,
}
