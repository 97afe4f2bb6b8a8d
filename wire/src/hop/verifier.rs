//! Checks tokens by the keys in a folder.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::Issuer;
use super::key::{PublicKey, parse_jwks};
use super::token::{self, Accepted, Refused};

/// The file with the public keys.
pub const JWKS_FILE: &str = "jwks.json";
/// How often the file is looked at: a ConfigMap's is replaced by a symbolic link, of which nothing tells.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many tokens are remembered as good: each caller shows its own for half a minute, and callers are few.
const REMEMBERED: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub struct Verifier {
    file: PathBuf,
    audience: String,
    keys: RwLock<Arc<Keys>>,
}

#[derive(Debug, Default)]
struct Keys {
    /// What was read; empty when there was nothing.
    text: Vec<u8>,
    keys: Vec<PublicKey>,
    /// Tokens that these keys have signed. A look is some hundred times cheaper than a signature.
    good: Mutex<VecDeque<Remembered>>,
}

struct Remembered {
    token: Box<str>,
    accepted: Accepted,
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.accepted.fmt(f)
    }
}

impl Verifier {
    /// Admits tokens for `audience` that are signed by the keys in `folder`. Without readable keys, it admits nobody
    /// until there are some.
    pub fn new(folder: &Path, audience: &str) -> Self {
        let verifier = Self { file: folder.join(JWKS_FILE), audience: audience.to_owned(), keys: RwLock::default() };
        if !verifier.reload() {
            tracing::warn!(file = %verifier.file.display(), "there are no keys by which callers could be known");
        }
        verifier
    }

    /// Whose token it is, if it counts at `now` ([`super::now`]).
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn verify(&self, token: &str, now: u64) -> Result<Issuer, Refused> {
        let keys = self.keys();
        let remembered = keys.remembered(token);
        let accepted = match remembered.filter(|accepted| accepted.until >= now) {
            Some(accepted) => accepted,
            None => token::check(token, &keys.keys, &self.audience, now)
                .inspect(|accepted| keys.remember(token, *accepted))?,
        };
        Ok(accepted.issuer)
    }

    /// The names of the keys that are known now.
    pub fn kids(&self) -> Vec<String> {
        self.keys().keys.iter().map(|key| key.kid.clone()).collect()
    }

    /// Reads the keys again, and says whether they are others now. What cannot be read or understood changes nothing.
    pub fn reload(&self) -> bool {
        let text = match fs::read(&self.file) {
            Ok(text) if text == self.keys().text => return false,
            Ok(text) => text,
            Err(error) => {
                tracing::debug!(%error, "the keys cannot be read");
                return false;
            }
        };
        let keys = parse_jwks(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "the keys stay as they were");
            self.keys().keys.clone()
        });
        let changed = keys != self.keys().keys;
        let keys = Arc::new(Keys { text, keys, good: Mutex::default() });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        changed
    }

    /// Reads the keys again whenever they change, for ever; tells `changed` of it.
    pub async fn follow(&self, changed: impl Fn(Vec<String>)) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if self.reload() {
                tracing::info!(kids = ?self.kids(), "the keys by which callers are known have changed");
                changed(self.kids());
            }
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn remembered(&self, token: &str) -> Option<Accepted> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let equal = |other: &&Remembered| verify_slices_are_equal(other.token.as_bytes(), token.as_bytes()).is_ok();
        good.iter().find(equal).map(|remembered| remembered.accepted)
    }

    fn remember(&self, token: &str, accepted: Accepted) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= REMEMBERED {
            good.pop_front();
        }
        good.push_back(Remembered { token: token.into(), accepted });
    }
}
