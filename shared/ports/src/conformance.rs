//! One suite for every adapter. Each function panics where the adapter breaks a guarantee.
