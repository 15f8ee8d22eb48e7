//! Topic and scheduler against ministack; mail against moto; job definitions against moto and whole jobs
//! against the tests' own endpoint.

mod jobs;
mod mailer;
pub(crate) mod receiver;
mod topic;
