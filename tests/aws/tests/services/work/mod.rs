//! Topic and scheduler against ministack; mail against moto; job definitions against moto and whole jobs
//! against the tests' own endpoint.

mod jobs;
mod mailer;
mod receiver;
mod topic;
