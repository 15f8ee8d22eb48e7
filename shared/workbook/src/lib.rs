//! Workbooks: foreign bytes to records, results to bytes.
