//! What stands in a token, and whether it counts. Nothing here reads a clock.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::Issuer;
use super::key::PublicKey;

/// How long a token is good for, in seconds.
pub const LIFE: u64 = 60;
/// The longest life that a token may claim, in seconds.
pub const LONGEST_LIFE: u64 = 300;
/// How far clocks may be apart, in seconds.
pub const LEEWAY: u64 = 30;
/// The longest token that is looked at, in bytes. Ours have some 300.
const LONGEST: usize = 2048;
/// The one algorithm there is.
const ALGORITHM: &str = "EdDSA";

/// Why a token does not count. For logs and tests: whoever sent it is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token.
    #[error("it is no token")]
    Malformed,
    /// It names another algorithm, or demands what is not understood.
    #[error("its algorithm is not EdDSA")]
    Algorithm,
    /// It names a key that is not listed.
    #[error("its key is not known")]
    Key,
    /// Its signature is not the key's.
    #[error("its signature is wrong")]
    Signature,
    /// Its key is not one of the issuer it names.
    #[error("its key is not one of its issuer's")]
    Issuer,
    /// It is for another server.
    #[error("it is for another server")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It was made in the future.
    #[error("it is from the future; see that the clocks agree")]
    Early,
    /// It lives longer than any should.
    #[error("it lives longer than {LONGEST_LIFE} s")]
    TooLong,
}

#[derive(Serialize, Deserialize)]
struct Head {
    alg: String,
    kid: String,
    /// What a reader must understand (RFC 7515 §4.1.11). Nothing is.
    #[serde(default, skip_serializing)]
    crit: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
}

/// A token that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) issuer: Issuer,
    /// The last second in which it counts.
    pub(super) until: u64,
}

/// All of a token but its signature.
pub(super) fn unsigned(kid: &str, issuer: Issuer, audience: &str, now: u64) -> String {
    let head = Head { alg: ALGORITHM.to_owned(), kid: kid.to_owned(), crit: None };
    let exp = now.saturating_add(LIFE);
    let claims = Claims { iss: issuer.as_str().to_owned(), aud: audience.to_owned(), iat: now, exp };
    format!("{}.{}", encode(&head), encode(&claims))
}

/// Whether `token` counts for `audience` at `now`, by these keys.
pub(super) fn check(token: &str, keys: &[PublicKey], audience: &str, now: u64) -> Result<Accepted, Refused> {
    if token.len() > LONGEST {
        return Err(Refused::Malformed);
    }
    let (text, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (head, claims) = text.split_once('.').ok_or(Refused::Malformed)?;
    let head: Head = decode(head)?;
    if head.alg != ALGORITHM || head.crit.is_some() {
        return Err(Refused::Algorithm);
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Malformed)?;
    let key = keys.iter().find(|key| key.kid == head.kid).ok_or(Refused::Key)?;
    if !key.verifies(text.as_bytes(), &signature) {
        return Err(Refused::Signature);
    }
    claimed(&decode(claims)?, key.issuer, audience, now)
}

/// What is claimed by a token whose signature is `signer`'s.
fn claimed(claims: &Claims, signer: Issuer, audience: &str, now: u64) -> Result<Accepted, Refused> {
    if claims.iss != signer.as_str() {
        return Err(Refused::Issuer);
    }
    if claims.aud != audience {
        return Err(Refused::Audience);
    }
    let life = claims.exp.checked_sub(claims.iat).ok_or(Refused::Expired)?;
    if life > LONGEST_LIFE {
        return Err(Refused::TooLong);
    }
    if claims.iat > now.saturating_add(LEEWAY) {
        return Err(Refused::Early);
    }
    let until = claims.exp.saturating_add(LEEWAY);
    if until < now { Err(Refused::Expired) } else { Ok(Accepted { issuer: signer, until }) }
}

fn encode(part: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("there are only strings and numbers in it"))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, Refused> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refused::Malformed)
}
