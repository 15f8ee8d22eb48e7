use crate::{Coordination, Outcomes, Runs};

/// The three ports of one deployment's ledger together, until each stage takes the ones it uses.
pub trait Ledger: Runs + Outcomes + Coordination {}

impl<T: Runs + Outcomes + Coordination + ?Sized> Ledger for T {}
