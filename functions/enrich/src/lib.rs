//! Stage enrich: one child's slice of a chunk, one outcome a record.
