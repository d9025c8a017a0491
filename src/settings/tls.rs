//! Certificates and keys: files to what rustls takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::reader::Findings;
use super::{Settings, TlsFiles};

/// A certificate chain with its private key, checked to belong together.
pub type TlsIdentity = Arc<CertifiedKey>;

/// Why files do not make a TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read or is not PEM.
    #[error("certificate: {0}")]
    Cert(pem::Error),
    /// There is no certificate in the certificate file.
    #[error("certificate: no certificate in the file")]
    NoCert,
    /// The key file cannot be read, is not PEM or holds no key.
    #[error("key: {0}")]
    Key(pem::Error),
    /// The key is of no known kind, or not that of the certificate.
    #[error("key: {0}")]
    Mismatch(rustls::Error),
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// The first file that cannot be used, or that the two do not belong together.
    pub fn load(&self) -> Result<TlsIdentity, TlsError> {
        let certs: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect)
            .map_err(TlsError::Cert)?;
        if certs.is_empty() {
            return Err(TlsError::NoCert);
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(TlsError::Key)?;
        let provider = aws_lc_rs::default_provider();
        let identity = CertifiedKey::from_der(certs, key, &provider).map_err(TlsError::Mismatch)?;
        Ok(Arc::new(identity))
    }
}

impl TlsError {
    /// Whether the certificate is at fault, not the key.
    fn is_of_cert(&self) -> bool {
        match self {
            Self::Cert(_) | Self::NoCert => true,
            Self::Key(_) | Self::Mismatch(_) => false,
        }
    }
}

/// Makes the paths in `settings` absolute; relative ones start at `directory`.
pub(super) fn resolve(settings: &mut Settings, directory: &Path) {
    let resolve = |path: &mut PathBuf| *path = directory.join(&*path);
    for files in settings.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
        resolve(&mut files.cert);
        resolve(&mut files.key);
    }
}

/// Adds to `findings` the files that cannot be used.
pub(super) fn check(settings: &Settings, findings: &mut Findings<'_>) {
    for (index, listener) in settings.listeners.iter().enumerate() {
        let Some(files) = &listener.tls else { continue };
        let [cert, key] = ["cert", "key"].map(|name| format!("listeners[{index}].tls.{name}"));
        if !findings.has(&cert) || !findings.has(&key) {
            continue;
        }
        if let Err(error) = files.load() {
            let (key, path) =
                if error.is_of_cert() { (cert, &files.cert) } else { (key, &files.key) };
            let expected = format!("a PEM file that can be used ({error})");
            findings.refuse(&key, &format!("\"{}\"", path.display()), &expected);
        }
    }
}
