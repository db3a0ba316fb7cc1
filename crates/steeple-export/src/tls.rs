//! Which TLS provider encrypts, and whose certificates are trusted.
//!
//! Every configuration here names its provider, so that it works with any other crates in the process. The provider is the
//! process's default if there is one, else aws-lc with the feature `tls-aws-lc`, else ring with `tls-ring`.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider as Provider,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Whether Steeple installs a default TLS provider for the process.
///
/// With two providers among its dependencies, rustls does not choose one: a program that calls `ClientConfig::builder()` then
/// panics, unless a default was installed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoProvider {
    /// Installs Steeple's if the process has none. A program with another provider installs that first.
    #[default]
    Install,
    /// Installs nothing.
    Keep,
}

/// Which provider the process has after the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Installed {
    /// Steeple's.
    Ours,
    /// One that was installed before.
    Theirs,
    /// None: [`CryptoProvider::Keep`], or no TLS feature is on.
    None,
}

impl Installed {
    /// For a line in a start summary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ours if cfg!(feature = "tls-aws-lc") => "aws-lc-rs, installed as the default",
            Self::Ours => "ring, installed as the default",
            Self::Theirs => "the process's default",
            Self::None => "no default installed",
        }
    }
}

/// Gives the process a default TLS provider, unless it has one. Call it once, when a program is set up.
pub fn install_default_provider(choice: CryptoProvider) -> Installed {
    if Provider::get_default().is_some() {
        return Installed::Theirs;
    }
    match (choice, own_provider()) {
        (CryptoProvider::Install, Some(provider)) => match provider.install_default() {
            Ok(()) => Installed::Ours,
            Err(_another_was_faster) => Installed::Theirs,
        },
        (CryptoProvider::Keep, _) | (_, None) => Installed::None,
    }
}

/// The feature's.
#[cfg(feature = "tls-aws-lc")]
#[expect(clippy::unnecessary_wraps, reason = "without a feature it is `None`")]
fn own_provider() -> Option<Provider> {
    Some(rustls::crypto::aws_lc_rs::default_provider())
}

/// The feature's.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
#[expect(clippy::unnecessary_wraps, reason = "without a feature it is `None`")]
fn own_provider() -> Option<Provider> {
    Some(rustls::crypto::ring::default_provider())
}

/// The feature's.
#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
fn own_provider() -> Option<Provider> {
    None
}

/// The process's default provider, else the feature's. `None` without a TLS feature.
pub(crate) fn provider() -> Option<Arc<Provider>> {
    Provider::get_default().cloned().or_else(|| own_provider().map(Arc::new))
}

/// Whom to trust.
pub(crate) struct Roots {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) skips_verification: bool,
}

/// A configuration for clients. `None` without a provider.
pub(crate) fn client_config(roots: &Roots) -> Result<Option<ClientConfig>, TlsError> {
    let Some(provider) = provider() else { return Ok(None) };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::new)?;
    if roots.skips_verification {
        let verifier = Arc::new(danger::AcceptAll(provider));
        return Ok(Some(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()));
    }
    let store = store(roots.ca_file.as_deref())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(store, provider).build().map_err(TlsError::new)?;
    Ok(Some(builder.with_webpki_verifier(verifier).with_no_client_auth()))
}

fn store(ca_file: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
    let Some(path) = ca_file else { return system_roots() };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(TlsError::new)? {
        store.add(certificate.map_err(TlsError::new)?).map_err(TlsError::new)?;
    }
    if store.is_empty() {
        return Err(TlsError::new("the file holds no certificate"));
    }
    Ok(Arc::new(store))
}

/// The system's roots, read once: all clients without a file share them.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(store) = ROOTS.get() {
        return Ok(Arc::clone(store));
    }
    let mut store = RootCertStore::empty();
    let mut system = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(system.certs);
    match system.errors.pop() {
        Some(error) if store.is_empty() => Err(TlsError::new(error)),
        None if store.is_empty() => Err(TlsError::new("the system has no root certificates")),
        _ => Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(store)))),
    }
}

mod danger {
    //! For test set-ups: see `ClientBuilder::danger_accept_invalid_certs`.

    use std::sync::Arc;

    use rustls::{
        DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{self, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct AcceptAll(pub(super) Arc<crypto::CryptoProvider>);

    impl ServerCertVerifier for AcceptAll {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

/// TLS that cannot be set up: certificates that cannot be read.
#[derive(Debug)]
pub struct TlsError(Box<dyn Error + Send + Sync>);

impl TlsError {
    fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
