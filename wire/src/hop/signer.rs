//! Tokens for those who call sidecars.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::token::LIFE;
use super::{Issuer, KeyRing};

/// No token could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the server could not be signed")]
pub struct SignError;

/// Makes tokens, and keeps each for half its life: one signature for many requests.
#[derive(Debug)]
pub struct Signer {
    issuer: Issuer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ring: KeyRing,
    /// By audience: what was made, and when.
    made: HashMap<String, Made>,
}

struct Made {
    token: Arc<str>,
    at: u64,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Made {
    /// Whether it is not so old that another is made, nor from the future of a clock that was set back.
    fn is_young(&self, now: u64) -> bool {
        now.checked_sub(self.at).is_some_and(|age| age < LIFE / 2)
    }
}

impl Signer {
    /// Signs for `issuer` with these keys.
    pub fn new(issuer: Issuer, ring: KeyRing) -> Self {
        Self { issuer, state: Mutex::new(State { ring, made: HashMap::new() }) }
    }

    /// A token for the server with the UID `audience`, good for at least half of [`LIFE`] from `now` on
    /// ([`super::now`]).
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn token(&self, audience: &str, now: u64) -> Result<Arc<str>, SignError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = state.made.get(audience).filter(|made| made.is_young(now)) {
            return Ok(Arc::clone(&made.token));
        }
        let token: Arc<str> = state.ring.sign(self.issuer, audience, now).ok_or(SignError)?.into();
        // Those of servers that are not called any more go with the old ones.
        state.made.retain(|_, made| made.is_young(now));
        state.made.insert(audience.to_owned(), Made { token: Arc::clone(&token), at: now });
        Ok(token)
    }

    /// Signs with other keys from now on.
    pub fn replace(&self, ring: KeyRing) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { ring, made: HashMap::new() };
    }
}
