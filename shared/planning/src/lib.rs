//! The planner: how many records each child of a run gets, and how long the run takes and what it
//! costs. Pure: everything that it depends on is an argument.
//!
//! [`plan`] tries many numbers of children, estimates each, and chooses the cheapest that meets the
//! target time. Without a target it chooses the fastest that costs at most [`CHEAPER`] more than the
//! cheapest. `rowmill_local::simulate` schedules the same run on the local Batch with a virtual clock;
//! it shares only prices and limits with the estimate, and a test keeps the two within 10%.
//!
//! | module | content |
//! |---|---|
//! | [`prices`] | list prices, with date and source |
//! | `work` | what a run has to do, and what it can use |
//! | `division` | records divided into chunks and children |
//! | `timeline` | when tasks start and end |
//! | `cost` | what that costs |
//! | `choice` | the plan |

mod choice;
mod cost;
mod division;
pub mod prices;
mod timeline;
mod work;

pub use choice::{Bottleneck, CHEAPER, Estimate, Plan, plan};
pub use cost::{Usage, cost, rates};
pub use division::Division;
pub use rowmill_domain::cost::Cost;
pub use work::{Architecture, MAX_VCPUS, Phase, Quotas, Work};
