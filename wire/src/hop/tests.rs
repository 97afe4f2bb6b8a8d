use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const UID: &str = "2f0c";

/// A token made by hand: whatever header and claims, signed by that key.
fn by_hand(pair: &Ed25519KeyPair, head: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(head), part(claims));
    format!("{text}.{}", BASE64.encode(pair.sign(text.as_bytes())))
}

fn pair(ring: &KeyRing) -> Ed25519KeyPair {
    let document: Value = serde_json::from_str(&ring.to_json()).unwrap();
    let private = BASE64_STANDARD.decode(document["keys"][0]["private"].as_str().unwrap()).unwrap();
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).unwrap()
}

fn folder(keys: &[PublicKey]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    publish(&folder, &jwks(keys));
    folder
}

/// Replaces the file as a ConfigMap's mount does.
fn publish(folder: &tempfile::TempDir, text: &str) {
    let next = folder.path().join("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, folder.path().join(JWKS_FILE)).unwrap();
}

#[test]
fn only_tokens_that_are_right_in_everything_count() {
    let (gateway, operator) = (KeyRing::generate().unwrap(), KeyRing::generate().unwrap());
    let keys = [gateway.public(Issuer::Gateway), operator.public(Issuer::Operator)].concat();
    let (kid, key) = (gateway.signing(), pair(&gateway));
    let good_head = json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"});
    let claims = |change: Value| {
        let mut claims = json!({"iss": "mcp-gateway", "aud": UID, "iat": NOW, "exp": NOW + 60});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let good = claims(json!({}));
    let with_head = |head: &Value| by_hand(&key, head, &good);
    let with = |change: Value| by_hand(&key, &good_head, &claims(change));
    let unsigned = |alg: &str| with_head(&json!({"alg": alg, "kid": kid}));
    let accepted = with(json!({}));
    let (text, _) = accepted.rsplit_once('.').unwrap();
    // What a confused reader would take for HMAC with the public key as the secret.
    let public = pair(&gateway).public_key().as_ref().to_vec();
    let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public);
    let hs256 = format!(
        "{}.{}",
        BASE64.encode(json!({"alg": "HS256", "kid": kid}).to_string()),
        &text[text.find('.').unwrap() + 1..]
    );
    let hs256 = format!("{hs256}.{}", BASE64.encode(aws_lc_rs::hmac::sign(&hmac, hs256.as_bytes())));
    let table = [
        (accepted.clone(), Ok(Issuer::Gateway)),
        (with(json!({"exp": NOW - LEEWAY, "iat": NOW - 90})), Ok(Issuer::Gateway)),
        (with(json!({"iat": NOW + LEEWAY, "exp": NOW + 90})), Ok(Issuer::Gateway)),
        (with(json!({"exp": NOW + LONGEST_LIFE})), Ok(Issuer::Gateway)),
        (with(json!({"aud": "another"})), Err(Refused::Audience)),
        (with(json!({"aud": ""})), Err(Refused::Audience)),
        (with(json!({"aud": [UID]})), Err(Refused::Malformed)),
        (with(json!({"exp": NOW - LEEWAY - 1, "iat": NOW - 91})), Err(Refused::Expired)),
        (with(json!({"exp": NOW - 1, "iat": NOW})), Err(Refused::Expired)),
        (with(json!({"exp": NOW + LONGEST_LIFE + 1})), Err(Refused::TooLong)),
        (with(json!({"iat": 0, "exp": u64::MAX})), Err(Refused::TooLong)),
        (with(json!({"iat": NOW + LEEWAY + 1, "exp": NOW + 91})), Err(Refused::Early)),
        (with(json!({"exp": -1})), Err(Refused::Malformed)),
        (with(json!({"iss": "mcp-operator"})), Err(Refused::Issuer)),
        (with(json!({"iss": "somebody"})), Err(Refused::Issuer)),
        (with_head(&json!({"alg": "EdDSA", "kid": operator.signing()})), Err(Refused::Signature)),
        (with_head(&json!({"alg": "EdDSA", "kid": "unknown"})), Err(Refused::Key)),
        (with_head(&json!({"alg": "EdDSA"})), Err(Refused::Malformed)),
        (with_head(&json!({"alg": "EdDSA", "kid": kid, "crit": ["b64"]})), Err(Refused::Algorithm)),
        (unsigned("none"), Err(Refused::Algorithm)),
        (unsigned("ES256"), Err(Refused::Algorithm)),
        (hs256, Err(Refused::Algorithm)),
        (format!("{text}."), Err(Refused::Signature)),
        (format!("{text}.{}", BASE64.encode([0; 64])), Err(Refused::Signature)),
        (text.to_owned(), Err(Refused::Malformed)),
        (format!("{accepted}.x"), Err(Refused::Malformed)),
        (format!("{accepted}="), Err(Refused::Malformed)),
        (String::new(), Err(Refused::Malformed)),
        ("..".to_owned(), Err(Refused::Malformed)),
        ("a.b.c".to_owned(), Err(Refused::Malformed)),
        ("x".repeat(100_000), Err(Refused::Malformed)),
    ];
    let folder = folder(&keys);
    let verifier = Verifier::new(folder.path(), UID);
    for (token, expected) in table {
        assert_eq!(token::check(&token, &keys, UID, NOW).map(|accepted| accepted.issuer), expected, "{token}");
        assert_eq!(verifier.verify(&token, NOW), expected, "{token}");
    }
}

#[test]
fn an_issuer_signs_with_its_own_keys_only() {
    let ring = KeyRing::generate().unwrap();
    let keys = ring.public(Issuer::Operator);
    let tokens = [Issuer::Operator, Issuer::Gateway].map(|issuer| ring.sign(issuer, UID, NOW).unwrap());
    assert_eq!(token::check(&tokens[0], &keys, UID, NOW).unwrap().issuer, Issuer::Operator);
    assert_eq!(token::check(&tokens[1], &keys, UID, NOW), Err(Refused::Issuer));
}

#[test]
fn a_token_is_kept_for_half_its_life_and_for_its_audience() {
    let ring = KeyRing::generate().unwrap();
    let keys = ring.public(Issuer::Gateway);
    let signer = Signer::new(Issuer::Gateway, ring);
    let first = signer.token(UID, NOW).unwrap();
    assert_eq!(signer.token(UID, NOW + LIFE / 2 - 1).unwrap(), first);
    assert_ne!(signer.token("another", NOW).unwrap(), first);
    let second = signer.token(UID, NOW + LIFE / 2).unwrap();
    assert_ne!(second, first);
    // A clock that is set back must not keep an old one for long.
    assert_ne!(signer.token(UID, NOW).unwrap(), second);
    assert!(token::check(&second, &keys, UID, NOW + LIFE).is_ok());
    let other = KeyRing::generate().unwrap();
    let keys = other.public(Issuer::Gateway);
    signer.replace(other);
    assert!(token::check(&signer.token(UID, NOW).unwrap(), &keys, UID, NOW).is_ok());
}

#[test]
fn keys_rotate_in_and_out_while_tokens_of_both_are_about() {
    let mut ring = KeyRing::generate().unwrap();
    let old = ring.signing().to_owned();
    let folder = folder(&ring.public(Issuer::Gateway));
    let verifier = Verifier::new(folder.path(), UID);
    let before = ring.sign(Issuer::Gateway, UID, NOW).unwrap();
    assert_eq!(verifier.verify(&before, NOW), Ok(Issuer::Gateway));
    let new = ring.add().unwrap();
    assert_eq!((ring.signing(), verifier.kids()), (old.as_str(), vec![old.clone()]));
    assert!(!verifier.reload());
    publish(&folder, &jwks(&ring.public(Issuer::Gateway)));
    assert!(verifier.reload());
    assert_eq!(verifier.kids(), [old.clone(), new.clone()]);
    assert!(ring.sign_with(&new) && !ring.sign_with("unknown"));
    let after = ring.sign(Issuer::Gateway, UID, NOW).unwrap();
    assert_eq!(verifier.verify(&before, NOW), Ok(Issuer::Gateway));
    assert_eq!(verifier.verify(&after, NOW), Ok(Issuer::Gateway));
    ring.retain(|_| false);
    assert_eq!(ring.kids(), [new.as_str()]);
    publish(&folder, &jwks(&ring.public(Issuer::Gateway)));
    assert!(verifier.reload());
    assert_eq!(verifier.verify(&before, NOW), Err(Refused::Key), "what was good before is not remembered");
    assert_eq!(verifier.verify(&after, NOW), Ok(Issuer::Gateway));
    assert_eq!(verifier.verify(&after, NOW + LIFE + LEEWAY + 1), Err(Refused::Expired));
}

#[test]
fn keys_that_cannot_be_understood_change_nothing_and_a_missing_file_admits_nobody() {
    let ring = KeyRing::generate().unwrap();
    let token = ring.sign(Issuer::Gateway, UID, NOW).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let verifier = Verifier::new(folder.path(), UID);
    assert_eq!(verifier.verify(&token, NOW), Err(Refused::Key));
    publish(&folder, &jwks(&ring.public(Issuer::Gateway)));
    assert!(verifier.reload());
    for text in ["", "{}", "{\"keys\":[{}]}"] {
        publish(&folder, text);
        assert!(!verifier.reload());
        assert_eq!(verifier.verify(&token, NOW), Ok(Issuer::Gateway), "{text}");
    }
    std::fs::remove_file(folder.path().join(JWKS_FILE)).unwrap();
    assert!(!verifier.reload());
    assert_eq!(verifier.verify(&token, NOW), Ok(Issuer::Gateway));
}

#[test]
fn keys_are_the_same_after_they_were_written_down() {
    let mut ring = KeyRing::generate().unwrap();
    ring.add().unwrap();
    let again = KeyRing::from_json(ring.to_json().as_bytes()).unwrap();
    assert_eq!(again.to_json(), ring.to_json());
    let public = again.public(Issuer::Operator);
    assert_eq!(public, ring.public(Issuer::Operator));
    assert_eq!(parse_jwks(jwks(&public).as_bytes()).unwrap(), public);
    let entry: Value = serde_json::from_str(&jwks(&public)).unwrap();
    let entry = &entry["keys"][0];
    let expected = json!({"kty": "OKP", "crv": "Ed25519", "x": entry["x"], "kid": ring.signing(), "alg": "EdDSA", "use": "sig", "mcp_issuer": "mcp-operator"});
    assert_eq!(*entry, expected);
    assert!(!format!("{ring:?}").contains("private"));
}

#[test]
fn documents_that_are_wrong_are_refused_as_a_whole() {
    let ring = KeyRing::generate().unwrap();
    let good = jwks(&ring.public(Issuer::Gateway));
    let twice = jwks(&[ring.public(Issuer::Gateway), ring.public(Issuer::Operator)].concat());
    for (text, says) in [
        (good.replace("OKP", "RSA"), "is no Ed25519 key"),
        (good.replace("\"EdDSA\"", "\"HS256\""), "is no Ed25519 key"),
        (good.replace("\"x\":\"", "\"x\":\"AAAA"), "is no Ed25519 key"),
        (good.replace("mcp-gateway", "somebody"), "has the issuer `somebody`"),
        (twice, "two keys are called"),
        ("[]".to_owned(), "not understood"),
    ] {
        let error = parse_jwks(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let json = ring.to_json();
    for (text, says) in [
        (json.replacen(ring.signing(), "other", 1), "the key `other` is to sign"),
        (json.replace("\"private\":\"M", "\"private\":\"N"), "is no Ed25519 key"),
        (json.replace("\"private\":\"M", "\"private\":\"*"), "is no Ed25519 key"),
        ("{}".to_owned(), "not understood"),
    ] {
        let error = KeyRing::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
