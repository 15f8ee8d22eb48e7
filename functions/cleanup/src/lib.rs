//! Stage cleanup: removes everything temporary, and sweeps for runs that stand still.
