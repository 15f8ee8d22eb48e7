//! What every [`crate::Jobs`] keeps.
