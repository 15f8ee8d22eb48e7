//! The whole flow on a deployment without AWS; `rowmill_tests_aws::deployment` documents what replaces
//! which service. These tests are ignored by default because they build the functions and take minutes.

mod flow;
mod mail;
mod preview;
mod resume;
mod runs;
mod smoke;
