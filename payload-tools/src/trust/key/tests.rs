use serde_json::json;

use super::*;

/// By `openssl genpkey -algorithm ed25519`.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPQSMU0l0JAJzSxHucklIgc1ILFHFMUDr2i0MN+8vm6W
-----END PRIVATE KEY-----
";
/// By `openssl ecparam -name prime256v1 -genkey`.
const P256: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv43JQJs9fT9Lw2Zy
kYXRNIdiqebPzdk5J7E4suaKcQuhRANCAARMBB0NieR7vznLd1W6rgAnGBbgVPSH
ZmYWvQWMujDCs/pxiJbGlT+Lpd1giecOIp9XruWPOVmHNxGmzFaBYzpl
-----END PRIVATE KEY-----
";

#[test]
fn keys_of_openssl_are_read_and_ours_are_written_alike() {
    for pem in [ED25519, P256] {
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.to_pem().unwrap(), pem);
        assert_eq!(&key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        assert_eq!(
            &PublicKey::listed(key.public().id(), &key.public().to_object()).unwrap(),
            key.public()
        );
    }
}

#[test]
fn a_signature_has_one_key_one_message_one_spelling() {
    for (pem, other) in [(ED25519, P256), (P256, ED25519)] {
        let key = SigningKey::from_pem(pem).unwrap();
        let other = SigningKey::from_pem(other).unwrap();
        let signature = key.sign(b"message");
        assert_eq!(key.public().verifies(b"message", &signature), Signature::Right);
        assert_eq!(key.public().verifies(b"massage", &signature), Signature::Wrong);
        assert_eq!(other.public().verifies(b"message", &signature), Signature::Wrong);
        let shouted = signature.to_uppercase();
        assert_eq!(key.public().verifies(b"message", &shouted), Signature::Wrong);
        let longer = format!("{signature}00");
        assert_eq!(key.public().verifies(b"message", &longer), Signature::Wrong);
        assert_eq!(key.public().verifies(b"message", ""), Signature::Wrong);
    }
}

#[test]
fn the_key_id_is_the_one_that_securesystemslib_computes() {
    // securesystemslib 1.6: SSlibKey.from_dict("", {...}) of the all-zero seed's public key.
    let key = SigningKey::from_seed(&[0; 32]);
    assert_eq!(
        key.public().to_string(),
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    );
    assert_eq!(key.public().id().to_string(), KEY_ID);
}

const KEY_ID: &str = "4cc3f338069d638e761ed397f5c53df4129a276face46a446c202617331ca1b3";

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "00", &"0g".repeat(32), ED25519, "-----BEGIN PUBLIC KEY-----"] {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
    }
    for public in ["", ED25519, RSA_PEM_CUT] {
        assert!(listed(&rsa(public)).is_none(), "{public}");
    }
    assert!(KeyId::try_from("AB".repeat(32)).is_err());
}

/// By `openssl pkey -pubout`, of 2048 bits.
const RSA_PEM: &str = include_str!("fixtures/rsa-2048.pem");
const RSA_PEM_CUT: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq\n-----END PUBLIC KEY-----\n";

fn rsa(public: &str) -> Value {
    json!({ "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": { "public": public } })
}

/// The key of an object that is listed by its right id.
fn listed(object: &Value) -> Option<PublicKey> {
    PublicKey::listed(&KeyId::of(object), object)
}

/// By `openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32`, and by what
/// else OpenSSL can do with an RSA key.
#[test]
fn rsa_verifies_pss_with_sha_256_and_nothing_else() {
    let key = listed(&rsa(RSA_PEM)).unwrap();
    let pss = include_str!("fixtures/rsa-2048.pss").trim();
    assert_eq!(key.verifies(b"message", pss), Signature::Right);
    assert_eq!(key.verifies(b"massage", pss), Signature::Wrong);
    for other in [
        include_str!("fixtures/rsa-2048.pss-salt-20"),
        include_str!("fixtures/rsa-2048.pkcs1"),
        include_str!("fixtures/rsa-1024.pss"),
        "00",
    ] {
        assert_eq!(key.verifies(b"message", other.trim()), Signature::Wrong);
    }
    assert!(listed(&json!({ "keytype": "rsa", "scheme": "rsa-pkcs1v15-sha256", "keyval": { "public": RSA_PEM } })).is_none());
}

#[test]
fn a_short_rsa_key_verifies_nothing() {
    let key = listed(&rsa(include_str!("fixtures/rsa-1024.pem"))).unwrap();
    let signature = include_str!("fixtures/rsa-1024.pss").trim();
    assert_eq!(key.verifies(b"message", signature), Signature::Wrong);
}

#[test]
fn an_rsa_key_is_one_key_however_its_text_is_broken() {
    let key = listed(&rsa(RSA_PEM)).unwrap();
    let lines: Vec<_> = RSA_PEM.lines().collect();
    let windows = lines.join("\r\n");
    assert_eq!(listed(&rsa(&windows)).unwrap().id(), key.id());
    assert_eq!(listed(&rsa(RSA_PEM.trim())).unwrap().id(), key.id());
    assert_eq!(key.to_string(), RSA_PEM);
}

#[test]
fn a_key_is_listed_by_the_id_of_its_object() {
    let key = SigningKey::from_seed(&[1; 32]);
    let mut object = key.public().to_object();
    object["x-note"] = json!({ "a": 1 });
    assert!(PublicKey::listed(key.public().id(), &object).is_none());
    // Under the right id it is the same key, which signs once.
    assert_eq!(listed(&object).unwrap().id(), key.public().id());
}
