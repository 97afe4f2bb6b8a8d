//! The gateway's own settings in the file layer.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use http::{Uri, uri::Authority};
use runtime::listen::ListenAddr;

use crate::spec::{
    fields::{Fault, Fields, boolean, duration, list, text, whole},
    node::Node,
};

/// Settings that stand in the file. `None` = not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `listen`: where clients are served.
    pub listen: Option<ListenAddr>,
    /// `admin`: where health and metrics are served.
    pub admin: Option<ListenAddr>,
    /// `stateDir`: the state directory.
    pub state_dir: Option<PathBuf>,
    /// `allowAnonymous`: serve everybody everything although the address is not loopback.
    pub allow_anonymous: Option<bool>,
    /// `publicHosts`: host names, with a port or without, under which clients know the gateway.
    pub public_hosts: Option<Vec<String>>,
    /// `allowedOrigins`: origins of web pages that may call, as browsers write them: `https://app.example.com`.
    pub allowed_origins: Option<Vec<String>>,
    /// `noPrefix`: show tools and prompts of all servers together as their servers name them.
    pub no_prefix: Option<bool>,
    /// `cors`: answer browsers of the allowed origins with CORS headers.
    pub cors: Option<bool>,
    /// `queryKeys`: take keys of scope `call` from `?api_key=` on SSE streams.
    pub query_keys: Option<bool>,
    /// `requestTimeout`: longest wait for an answer of a server that sets none of its own.
    pub request_timeout: Option<Duration>,
    /// `drainTimeout`: longest wait for calls under way when the gateway stops.
    pub drain_timeout: Option<Duration>,
    /// `maxBodyBytes`: largest body of a request, in bytes.
    pub max_body_bytes: Option<u64>,
    /// `maxStreamsPerPrincipal`: most event streams that one principal holds open at a time.
    pub max_streams_per_principal: Option<NonZeroU32>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Settings {
    Settings {
        listen: fields.take("listen", address),
        admin: fields.take("admin", address),
        state_dir: fields.take("stateDir", directory),
        allow_anonymous: fields.take("allowAnonymous", boolean),
        public_hosts: fields.take("publicHosts", list(host)),
        allowed_origins: fields.take("allowedOrigins", list(origin)),
        cors: fields.take("cors", boolean),
        no_prefix: fields.take("noPrefix", boolean),
        query_keys: fields.take("queryKeys", boolean),
        request_timeout: fields.take("requestTimeout", duration),
        drain_timeout: fields.take("drainTimeout", duration),
        max_body_bytes: fields.take("maxBodyBytes", whole(1024)),
        max_streams_per_principal: fields.take("maxStreamsPerPrincipal", whole(NonZeroU32::MIN)),
    }
}

fn address(node: &Node) -> Result<ListenAddr, Fault> {
    text(node)?.parse().map_err(|_| Fault::new(node, "must be an address and a port such as `127.0.0.1:8080`"))
}

fn directory(node: &Node) -> Result<PathBuf, Fault> {
    match text(node)? {
        "" => Err(Fault::new(node, "must not be empty")),
        path => Ok(path.into()),
    }
}

fn host(node: &Node) -> Result<String, Fault> {
    let host = text(node)?;
    match host.parse::<Authority>() {
        Ok(authority) if !authority.as_str().contains('@') && !authority.host().is_empty() => {
            Ok(host.to_ascii_lowercase())
        }
        _ => Err(Fault::new(node, "must be a host name such as `mcp.example.com`, with a port or without")),
    }
}

fn origin(node: &Node) -> Result<String, Fault> {
    let origin = text(node)?;
    let fault = || Fault::new(node, "must be an origin such as `https://app.example.com`, without a path");
    let uri = origin.parse::<Uri>().map_err(|_| fault())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(fault()) };
    // Written again from its parts, so that a path, a query or a user cannot hide in it.
    let written = format!("{scheme}://{authority}");
    if written == origin && !origin.contains('@') { Ok(origin.to_ascii_lowercase()) } else { Err(fault()) }
}
