//! Event envelopes: what S3, SNS and EventBridge send, read into the domain's events.
