//! Objects, ledger, secrets and images.

mod ledger;
mod lookup;
mod objects;
mod replayed;
