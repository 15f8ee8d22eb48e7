//! Stage submit: one Batch job per chunk and stage.
