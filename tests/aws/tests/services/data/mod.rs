//! What keeps data on AWS passes the suites of the ports against emulators.

mod ledger;
mod lookup;
mod objects;
mod replayed;
