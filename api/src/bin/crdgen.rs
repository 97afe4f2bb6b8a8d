//! Writes the definition of `McpServer` to standard output: `crdgen` the manifest, `crdgen chart` the chart's template.

use std::io::{Error, ErrorKind, Write as _};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let text = match (args.next().as_deref(), args.next()) {
        (None, _) => api::crd::yaml(),
        (Some("chart"), None) => api::crd::chart_template(),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "usage: crdgen [chart]")),
    };
    std::io::stdout().write_all(text.as_bytes())
}
