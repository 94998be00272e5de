//! Whose a client's certificate is.

use x509_cert::{
    Certificate,
    attr::AttributeTypeAndValue,
    der::{
        Decode,
        asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef},
        oid::ObjectIdentifier,
    },
};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The subject of a verified certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSubject {
    /// `None`: the subject has no common name, or more than one, or one with control characters.
    pub common_name: Option<String>,
    /// In the form of RFC 4514, such as `CN=cabinet,O=Example`.
    pub distinguished_name: String,
}

impl CertificateSubject {
    /// Reads a certificate in DER form; `None` when it is not one.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let subject = Certificate::from_der(der).ok()?.tbs_certificate.subject;
        let attributes = subject.0.iter().flat_map(|name| name.0.iter());
        let mut names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
        let common_name = match (names.next(), names.next()) {
            (Some(only), None) => text(only),
            _ => None,
        };
        let is_plain = |name: &String| !name.is_empty() && !name.chars().any(char::is_control);
        Some(Self {
            common_name: common_name.filter(is_plain),
            distinguished_name: subject.to_string(),
        })
    }
}

fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    utf8.or_else(|_| value.decode_as::<PrintableStringRef<'_>>().map(|t| t.as_str().to_owned()))
        .or_else(|_| value.decode_as::<Ia5StringRef<'_>>().map(|t| t.as_str().to_owned()))
        .ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn subject(names: &[(DnType, &str)]) -> CertificateSubject {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            parameters.distinguished_name.push(kind.clone(), *name);
        }
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateSubject::from_der(certificate.der()).unwrap()
    }

    #[test]
    fn the_subject_is_read() {
        let read =
            subject(&[(DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "温度 1")]);
        assert_eq!(read.common_name.as_deref(), Some("温度 1"));
        assert_eq!(read.distinguished_name, "CN=温度 1,O=Example\\, Inc.");
        assert_eq!(subject(&[(DnType::OrganizationName, "o")]).common_name, None);
        assert_eq!(subject(&[(DnType::CommonName, "a\0b")]).common_name, None);
        assert_eq!(CertificateSubject::from_der(b"not a certificate"), None);
    }
}
