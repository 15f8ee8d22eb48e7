//! An HTTP client for calls to servers of the tests.

/// A new client.
pub fn client() -> reqwest::Client {
    builder().build().unwrap()
}

/// A builder for a client. reqwest requires a TLS provider even though the tests do not use TLS.
pub fn builder() -> reqwest::ClientBuilder {
    // Fails if another call has already set it, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
