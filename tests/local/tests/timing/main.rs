//! Tests that measure rates and times. They are a binary of their own and run one after another,
//! because load from other tests would change what they measure.

mod rate;
