//! The certificates of a bed: one authority for the cluster, one for aggregated APIs, a client certificate per component.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate authority; its certificate lies in `<folder>/<name>.crt`.
pub struct Authority {
    directory: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority and writes its certificate. The key stays in memory: nothing else is to be signed later.
    ///
    /// # Errors
    /// When the certificate cannot be made or written.
    pub fn create(directory: &Path, name: &str) -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, format!("plimsoll-bed {name}"));
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = parameters.self_signed(&key).context("cannot make the authority's certificate")?;
        write(&directory.join(format!("{name}.crt")), &certificate.pem())?;
        Ok(Self { directory: directory.to_owned(), name: name.to_owned(), issuer: Issuer::new(parameters, key) })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(format!("{}.crt", self.name))
    }

    /// A client certificate for `user` in `group`, in files called `name`.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut parameters = CertificateParams::default();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            parameters.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.sign(name, parameters)
    }

    /// A server certificate for host names and addresses.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn server(&self, name: &str, hosts: &[String]) -> Result<Identity> {
        let mut parameters = CertificateParams::new(hosts).context("not a host name")?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.distinguished_name.push(DnType::CommonName, name);
        self.sign(name, parameters)
    }

    fn sign(&self, name: &str, mut parameters: CertificateParams) -> Result<Identity> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = parameters.signed_by(&key, &self.issuer).with_context(|| format!("cannot sign the certificate {name}"))?;
        let identity =
            Identity { certificate: self.directory.join(format!("{name}.crt")), key: self.directory.join(format!("{name}.key")) };
        write(&identity.certificate, &certificate.pem())?;
        write(&identity.key, &key.serialize_pem())?;
        Ok(identity)
    }
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// The key pair that signs the tokens of service accounts: (private, public), PEM.
///
/// # Errors
/// When it cannot be made or written.
pub fn service_account_keys(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let (private, public) = (directory.join("service-account.key"), directory.join("service-account.pub"));
    write(&private, &key.serialize_pem())?;
    write(&public, &key.public_key_pem())?;
    Ok((private, public))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
