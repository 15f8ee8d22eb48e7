//! What works, tells and waits on AWS passes the suites of the ports: topic and scheduler against
//! ministack, jobs against moto as far as it has Batch's shapes and whole against the tests' own
//! endpoint, mail against moto.

mod jobs;
mod mailer;
mod receiver;
mod topic;
