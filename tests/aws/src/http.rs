//! A client for plain calls to servers of the tests.

/// A new client.
pub fn client() -> reqwest::Client {
    builder().build().unwrap()
}

/// One that is not finished. Nothing here speaks TLS, but it asks for a provider before it knows.
pub fn builder() -> reqwest::ClientBuilder {
    // Set already by another call.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
