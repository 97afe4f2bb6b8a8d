//! The session handle that clients hold: sealed, so that any gateway with the key can open it and nobody else can read,
//! change or make one (design §3).
//!
//! A handle names the place of a session and the principal it belongs to. It is no credential unless its kind says so.
//! Its form is base64url without padding over nonce and XChaCha20-Poly1305 of the payload. A nonce has 192 random bits
//! and never repeats in practice, so one key serves for years without a counter.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

use crate::{
    keys::PrincipalHash,
    store::{StorageError, Uid, durable, random},
};

/// Keeps a handle from being taken for anything else that the same key may seal one day.
const LABEL: &[u8] = b"mcp-gateway session handle";
const VERSION: u8 = 1;
const NONCE: usize = 24;
/// Version, kind, instance, principal, and the length of the server's name.
const FIXED: usize = 1 + 1 + 16 + 16 + 2;
/// Longest text that is looked at, in bytes; a handle has about 200.
const MAX_SEALED: usize = 4096;

/// What a client's session handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// What the handle is good for.
    pub kind: Kind,
    /// `namespace/name`, or whatever names the server in its world; empty for the aggregate. At most 512 bytes.
    pub server: String,
    /// The instance that holds the session: a pod, or a sidecar process.
    pub instance: Uid,
    /// The instance's own id of the session. At most 512 bytes.
    pub session: String,
    /// Whom the session belongs to.
    pub principal: PrincipalHash,
}

/// What a handle is good for; one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Mcp-Session-Id` of Streamable HTTP.
    Streamable,
    /// `sessionId` of HTTP+SSE; each POST brings its own credential.
    Sse,
    /// `sessionId` of HTTP+SSE that is itself the credential for POSTs to this session, for clients that can set no
    /// headers (design §10).
    SsePass,
}

/// Seals with the newest key of a ring, and opens with any. Clones share the ring.
#[derive(Clone)]
pub struct Sealer(Arc<ArcSwap<Ring>>);

/// The newest first; never empty.
type Ring = Vec<XChaCha20Poly1305>;

/// Why there is no key to seal with.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file holds something else.
    #[error(
        "the sealing key in {} is damaged: restore the file, or remove it to make a new one, which ends all sessions",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Sealer {
    /// Seals with `current`; opens what it or `previous` sealed, so that rotation ends no session.
    pub fn new(current: &[u8; 32], previous: Option<&[u8; 32]>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(ring(current, previous))))
    }

    /// With a key that nobody else has and that opens nothing yet: until [others](Self::replace) are there.
    pub fn unset() -> Self {
        Self::new(&random(), None)
    }

    /// Seals with `newest` from now on, and opens what it or one of the `others` sealed.
    pub fn replace<'a>(&self, newest: &'a [u8; 32], others: impl IntoIterator<Item = &'a [u8; 32]>) {
        self.0.store(Arc::new(ring(newest, others)));
    }

    /// Reads `seal.key` in the state directory, or makes it. The caller holds the lock of that directory.
    ///
    /// The file has a line of base64url for each key: the current one, then perhaps the previous.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SealError> {
        let path = state_dir.join("seal.key");
        durable::clear_temporary(&path)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = URL_SAFE_NO_PAD.encode(random::<32>()) + "\n";
                durable::replace(&path, text.as_bytes())?;
                text
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(SealError::Damaged { path }),
            Err(source) => return Err(StorageError::new("read", &path, source).into()),
        };
        let key = |line: &str| <[u8; 32]>::try_from(URL_SAFE_NO_PAD.decode(line).ok()?).ok();
        match text.lines().map(key).collect::<Option<Vec<_>>>().as_deref() {
            Some([current]) => Ok(Self::new(current, None)),
            Some([current, previous]) => Ok(Self::new(current, Some(previous))),
            _ => Err(SealError::Damaged { path }),
        }
    }

    /// Seals a handle into visible ASCII that is good in a header, a path and a query.
    pub fn seal(&self, handle: &Handle) -> String {
        let nonce = random::<NONCE>();
        let payload = Payload { msg: &handle.encode(), aad: LABEL };
        let ring = self.0.load();
        let sealed = ring[0].encrypt(XNonce::from_slice(&nonce), payload).expect("a handle is far below 256 GiB");
        URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what a client presents; `None` for anything that this ring did not seal.
    pub fn open(&self, presented: &str) -> Option<Handle> {
        if presented.len() > MAX_SEALED {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(presented).ok()?;
        let (nonce, msg) = bytes.split_at_checked(NONCE)?;
        let open =
            |cipher: &XChaCha20Poly1305| cipher.decrypt(XNonce::from_slice(nonce), Payload { msg, aad: LABEL }).ok();
        Handle::decode(&self.0.load().iter().find_map(open)?)
    }
}

fn ring<'a>(newest: &'a [u8; 32], others: impl IntoIterator<Item = &'a [u8; 32]>) -> Ring {
    std::iter::once(newest).chain(others).map(|key| XChaCha20Poly1305::new(key.into())).collect()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Handle {
    fn encode(&self) -> Vec<u8> {
        let server = u16::try_from(self.server.len()).expect("a server's name is short");
        let mut bytes = Vec::with_capacity(FIXED + self.server.len() + self.session.len());
        bytes.extend([VERSION, self.kind.code()]);
        bytes.extend(self.instance.as_bytes());
        bytes.extend(self.principal.as_bytes());
        bytes.extend(server.to_be_bytes());
        bytes.extend(self.server.as_bytes());
        bytes.extend(self.session.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind], rest) = bytes.split_first_chunk()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (principal, rest) = rest.split_first_chunk()?;
        let (server, rest) = rest.split_first_chunk()?;
        let (server, session) = rest.split_at_checked(u16::from_be_bytes(*server).into())?;
        Some(Self {
            kind: (version == VERSION).then(|| Kind::from_code(kind))??,
            server: str::from_utf8(server).ok()?.to_owned(),
            instance: Uid::from_bytes(*instance),
            session: str::from_utf8(session).ok()?.to_owned(),
            principal: PrincipalHash::from_bytes(*principal),
        })
    }
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Streamable => 1,
            Self::Sse => 2,
            Self::SsePass => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Streamable, Self::Sse, Self::SsePass].into_iter().find(|kind| kind.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handle() -> Handle {
        Handle {
            kind: Kind::Streamable,
            server: "default/time".into(),
            instance: Uid::from_bytes([7; 16]),
            session: "0190f3a2-5c1d-7e3b-9f00-1234567890ab".into(),
            principal: PrincipalHash::from_bytes([9; 16]),
        }
    }

    fn any_handle() -> impl Strategy<Value = Handle> {
        let kind = prop_oneof![Just(Kind::Streamable), Just(Kind::Sse), Just(Kind::SsePass)];
        (kind, ".{0,120}", any::<[u8; 16]>(), ".{0,120}", any::<[u8; 16]>()).prop_map(
            |(kind, server, instance, session, principal)| Handle {
                kind,
                server,
                instance: Uid::from_bytes(instance),
                session,
                principal: PrincipalHash::from_bytes(principal),
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_to_the_same_handle_and_is_visible_ascii(handle in any_handle()) {
            let sealer = Sealer::new(&[1; 32], None);
            let sealed = sealer.seal(&handle);
            prop_assert!(sealed.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
            prop_assert_eq!(sealer.open(&sealed), Some(handle));
        }

        #[test]
        fn garbage_opens_to_nothing(garbage in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sealer = Sealer::new(&[1; 32], Some(&[2; 32]));
            prop_assert_eq!(sealer.open(&garbage), None);
            prop_assert_eq!(sealer.open(&URL_SAFE_NO_PAD.encode(&bytes)), None);
            // Even a holder of the key cannot make the payload's reader panic.
            let _ = Handle::decode(&bytes);
        }
    }

    #[test]
    fn a_handle_with_any_one_character_changed_opens_to_nothing() {
        let sealer = Sealer::new(&[1; 32], None);
        let sealed = sealer.seal(&handle());
        for at in 0..sealed.len() {
            let mut tampered = sealed.clone().into_bytes();
            tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(tampered).unwrap();
            assert_eq!(sealer.open(&tampered), None, "character {at}");
            assert_eq!(sealer.open(&sealed[..at]), None, "first {at} characters");
        }
    }

    #[test]
    fn a_handle_is_sealed_anew_each_time_and_says_nothing_in_clear() {
        let sealer = Sealer::new(&[1; 32], None);
        let sealed = sealer.seal(&handle());
        assert_ne!(sealed, sealer.seal(&handle()));
        let bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"time"));
    }

    #[test]
    fn rotation_ends_no_session_until_the_old_key_leaves_the_ring() {
        let old = Sealer::new(&[1; 32], None).seal(&handle());
        let rotated = Sealer::new(&[2; 32], Some(&[1; 32]));
        assert_eq!(rotated.open(&old), Some(handle()));
        let new = rotated.seal(&handle());
        assert_eq!(Sealer::new(&[1; 32], None).open(&new), None);
        assert_eq!(Sealer::new(&[2; 32], None).open(&new), Some(handle()));
        assert_eq!(Sealer::new(&[2; 32], None).open(&old), None);
    }

    #[test]
    fn keys_change_for_all_who_share_a_ring() {
        let sealer = Sealer::unset();
        let (shared, before) = (sealer.clone(), sealer.seal(&handle()));
        sealer.replace(&[2; 32], [&[1; 32]]);
        assert_eq!(shared.open(&before), None);
        assert_eq!(shared.open(&Sealer::new(&[1; 32], None).seal(&handle())), Some(handle()));
        assert_eq!(Sealer::new(&[2; 32], None).open(&shared.seal(&handle())), Some(handle()));
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_only_and_read_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let sealed = Sealer::load_or_create(directory.path()).unwrap().seal(&handle());
        assert_eq!(Sealer::load_or_create(directory.path()).unwrap().open(&sealed), Some(handle()));
        let mode = fs::metadata(directory.path().join("seal.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        for damaged in [&b""[..], b"short\n", b"\xff\xfe", &[b'A'; 43 * 3 + 2]] {
            fs::write(&path, damaged).unwrap();
            let error = Sealer::load_or_create(directory.path()).unwrap_err();
            assert!(matches!(error, SealError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
