//! Whom to trust: bundled roots, the system's bundle, and what was named; whom to be.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{Identity, NetError, Options};

/// Makes the TLS configuration. The bundled roots make an image without a CA bundle work;
/// the system's files are taken as far as they can be read, since they are not the user's doing;
/// those that were named must be readable and not empty.
pub(super) fn config(options: &Options) -> Result<ClientConfig, NetError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    for path in &options.system_bundles {
        if let Ok(certificates) = read(path) {
            roots.add_parsable_certificates(certificates);
        }
    }
    let mut named = Vec::new();
    for path in &options.certificates {
        for certificate in read(path)? {
            named.push(certificate.clone());
            roots.add(certificate).map_err(|e| NetError::Certificate {
                path: path.clone(),
                problem: e.to_string(),
            })?;
        }
    }
    for text in &options.authorities {
        let fail = |problem| NetError::Pem { what: "the certificates to trust", problem };
        for certificate in certificates(text).map_err(fail)? {
            named.push(certificate.clone());
            roots.add(certificate).map_err(|e| fail(e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| NetError::Options(e.to_string()))?;
    let builder = if named.is_empty() && !options.unverified {
        builder.with_root_certificates(roots)
    } else {
        let verifier = verifier(roots, named, provider)?;
        let verifier = Verifier { unverified: options.unverified, ..verifier };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = client(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|e| NetError::Pem {
                what: "the client's certificate",
                problem: e.to_string(),
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(identity: &Identity) -> Result<ClientCertificate, NetError> {
    let chain = certificates(&identity.certificates)
        .map_err(|problem| NetError::Pem { what: "the client's certificate", problem })?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key)
        .map_err(|e| NetError::Pem { what: "the client's key", problem: e.to_string() })?;
    Ok((chain, key))
}

fn verifier(
    roots: RootCertStore,
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, NetError> {
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| NetError::Options(e.to_string()))?;
    Ok(Verifier { authorities, named, unverified: false })
}

/// Checks as usual, and takes a certificate that was named by the user from the
/// server that shows it: a self-signed one, as `openssl req -x509` makes it,
/// calls itself an authority, which no server's certificate may be otherwise.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    /// Whether all certificates are taken.
    unverified: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.unverified {
            return Ok(ServerCertVerified::assertion());
        }
        let usual = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match usual {
            // The one refusal that a self-signed certificate gets for what it is;
            // a wrong date or name is still refused.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.named.iter().any(|named| named == end_entity) =>
            {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let fail = |problem: String| NetError::Certificate { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    certificates(&bytes).map_err(fail)
}

/// The certificates of a PEM text, of which there must be one.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    if certificates.is_empty() {
        return Err("it holds no PEM certificate".into());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_bad_named_file_is_an_error_and_a_bad_system_bundle_is_not() {
        let temp = TempDir::new("net-tls");
        let bad = temp.path().join("bad.pem");
        std::fs::write(&bad, "not a certificate").expect("write");
        let missing = temp.path().join("missing.pem");
        let system = vec![bad.clone(), missing.clone()];
        assert!(config(&Options { system_bundles: system, ..Options::default() }).is_ok());
        for extra in [bad, missing] {
            let options = Options { certificates: vec![extra.clone()], ..Options::default() };
            let error = config(&options).expect_err("must fail");
            assert!(error.to_string().contains(&*extra.to_string_lossy()), "{error}");
        }
    }

    /// Self-signed for localhost, valid from 2026-11-21 to 2036-11-18.
    const SELF_SIGNED: &[u8] = b"\
-----BEGIN CERTIFICATE-----\n\
MIIBkjCCATmgAwIBAgIUJvPept7RSQgnKnRPY8v5jsBo4zkwCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJeWFkbyB0ZXN0MB4XDTI2MTEyMTEyMjQxN1oXDTM2MTExODEy\n\
MjQxN1owFDESMBAGA1UEAwwJeWFkbyB0ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAExfTxHHUuiuMBgm1pl8s9FH0mW2dysiJYZZ7fScrv9NYIOuhdDp4TIF5T\n\
T2o9oIAj6mbUWu+LbGGB30Z4wtJqJaNpMGcwHQYDVR0OBBYEFAhlTd0fd5bmBGXs\n\
OdpXJa5+68R3MB8GA1UdIwQYMBaAFAhlTd0fd5bmBGXsOdpXJa5+68R3MA8GA1Ud\n\
EwEB/wQFMAMBAf8wFAYDVR0RBA0wC4IJbG9jYWxob3N0MAoGCCqGSM49BAMCA0cA\n\
MEQCIAV3O4cOgAa6k9VDo2I8Ll1kcF9bSmz/JnOrmNgeyK7DAiA/r0sLewP+t8dp\n\
DG09BflYHKb06TSpKPds9ywckCcr5Q==\n\
-----END CERTIFICATE-----\n";

    #[test]
    fn a_named_self_signed_certificate_is_taken_for_its_name_and_time() {
        let certificate = CertificateDer::from_pem_slice(SELF_SIGNED).expect("a certificate");
        let good = UnixTime::since_unix_epoch(Duration::from_secs(1_799_999_999));
        let late = UnixTime::since_unix_epoch(Duration::from_secs(2_199_999_999));
        for (named, host, now, expected) in [
            (true, "localhost", good, true),
            (true, "h.io", good, false),
            (true, "localhost", late, false),
            (false, "localhost", good, false),
        ] {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).expect("a root");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let list = if named { vec![certificate.clone()] } else { Vec::new() };
            let verifier = verifier(roots, list, provider).expect("a verifier");
            let name = ServerName::try_from(host).expect("a name");
            let result = verifier.verify_server_cert(&certificate, &[], &name, &[], now);
            assert_eq!(result.is_ok(), expected, "{named} {host} {now:?}: {result:?}");
        }
    }
}
