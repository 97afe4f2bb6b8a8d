//! The aggregate's figures.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as Metrics;
use wire::session::Registry;

pub(super) fn register(metrics: &mut Metrics, sessions: Registry) {
    metrics.register_collector(Box::new(Sessions(sessions)));
}

#[derive(Debug)]
struct Sessions(Registry);

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(i64::try_from(self.0.count()).unwrap_or(i64::MAX));
        let help = "Sessions over all servers.";
        gauge.encode(encoder.encode_descriptor("mcp_gateway_aggregate_sessions", help, None, gauge.metric_type())?)
    }
}
