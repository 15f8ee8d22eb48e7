//! A client for plain calls to servers of the tests.

/// A new client. Nothing here speaks TLS, but it asks for a provider before it knows.
pub fn client() -> reqwest::Client {
    // Set already by another call.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
