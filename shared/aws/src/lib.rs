//! The ports on AWS. The only code that knows an SDK.
