//! The routes of the API, by subject.

pub(crate) mod control;
pub(crate) mod export;
pub(crate) mod feedback;
pub(crate) mod pipelines;
pub(crate) mod predict;
pub(crate) mod previews;
pub(crate) mod reviews;
pub(crate) mod rows;
pub(crate) mod runs;
pub(crate) mod tiers;
pub(crate) mod uploads;
