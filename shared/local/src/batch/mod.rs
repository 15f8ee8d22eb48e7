//! AWS Batch on one machine.
#![allow(dead_code)]
mod exit;
mod rules;
mod state;
