//! The whole flow on a deployment without AWS; see `rowmill_tests_aws::deployment` for what stands in
//! for which service. All of it is ignored by default: it builds the functions and takes minutes.

mod flow;
mod mail;
mod preview;
mod resume;
mod runs;
