//! What is to be told of a certificate: its name, and when it ends?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::telemetry::metrics::listener::Certificate;

/// Leniently read: what a client takes need not keep to every rule of RFC 5280.
type Lenient = CertificateInner<Raw>;

/// What is to be told of a chain, leaf first; `None` where its leaf cannot be read.
pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Certificate> {
    let leaf = Lenient::from_der(chain.first()?).ok()?;
    let others = chain[1..].iter();
    let others = others.filter_map(|der| Some(ends_at(&Lenient::from_der(der).ok()?)));
    Some(Certificate {
        name: name(&leaf).unwrap_or_else(|| "-".to_owned()),
        ends_at: others.fold(ends_at(&leaf), u64::min),
    })
}

/// In seconds since 1970.
fn ends_at(certificate: &Lenient) -> u64 {
    let validity = certificate.tbs_certificate().validity();
    validity.not_after.to_unix_duration().as_secs()
}

/// The first name or address that it is for (RFC 5280 §4.2.1.6), else its subject's common name.
fn name(certificate: &Lenient) -> Option<String> {
    let certificate = certificate.tbs_certificate();
    let names = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let (_, SubjectAltName(names)) = names.unwrap_or((false, SubjectAltName(Vec::new())));
    names.iter().find_map(alternative).or_else(|| {
        let name = certificate.subject().common_name().ok()??;
        Some(name.value().into_owned())
    })
}

fn alternative(name: &GeneralName) -> Option<String> {
    if let GeneralName::DnsName(name) = name {
        return Some(name.as_str().to_owned());
    }
    let GeneralName::IpAddress(address) = name else {
        return None;
    };
    let bytes = address.as_bytes();
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)));
    Some(v4.or(v6).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(names: &[&str], common_name: &str, year: i32) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_chain_ends_with_the_first_of_it_and_has_its_leafs_name() {
        let leaf = certificate(&["a.example", "b.example"], "c", 2035);
        let (longer, shorter) = (certificate(&[], "d", 2040), certificate(&[], "d", 2031));
        for (chain, name, ends_at) in [
            (vec![leaf.clone()], "a.example", 2_051_222_400),
            (vec![leaf.clone(), longer], "a.example", 2_051_222_400),
            (vec![leaf, shorter], "a.example", 1_924_992_000),
            (
                vec![certificate(&["192.0.2.1"], "c", 2035)],
                "192.0.2.1",
                2_051_222_400,
            ),
            (
                vec![certificate(&["2001:db8::1"], "c", 2070)],
                "2001:db8::1",
                3_155_760_000,
            ),
            (vec![certificate(&[], "c", 2035)], "c", 2_051_222_400),
        ] {
            let name = name.to_owned();
            assert_eq!(of(&chain), Some(Certificate { name, ends_at }));
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[CertificateDer::from(vec![0x30, 0])]), None);
    }
}
