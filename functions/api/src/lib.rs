//! The HTTP interface: health, and links to results.
