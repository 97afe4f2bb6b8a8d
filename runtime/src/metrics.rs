//! Metrics of the process itself, by the names Prometheus clients share.

use std::{
    fmt, fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};
use rustix::time::{ClockId, clock_gettime};

use crate::limits;

/// Registers `mcp_build_info{program, version}` and the `process_…` metrics. Call it at the start:
/// that moment is reported as the start of the process.
pub fn register(registry: &mut Registry, program: &'static str, version: &'static str) {
    let build = Info::new([("program", program), ("version", version)]);
    registry.register("mcp_build", "What is running", build);
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    registry.register_collector(Box::new(Process { started: started.map_or(0.0, |since| since.as_secs_f64()) }));
}

#[derive(Debug)]
struct Process {
    /// Seconds since the epoch.
    started: f64,
}

impl Collector for Process {
    /// What cannot be read is left out.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut put = Put(encoder);
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let started = ConstGauge::new(self.started);
        put.metric("start_time", "Start, since the epoch", seconds, &started)?;
        let cpu = ConstCounter::new(cpu_seconds());
        put.metric("cpu", "CPU time, user and system", seconds, &cpu)?;
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            if let Some(kibibytes) = field(&status, "VmRSS:") {
                let resident = ConstGauge::new(kibibytes * 1024);
                put.metric("resident_memory", "Memory in use", bytes, &resident)?;
            }
            if let Some(threads) = field(&status, "Threads:") {
                put.metric("threads", "Threads", None, &ConstGauge::new(threads))?;
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is this listing itself.
            let open = ConstGauge::new(files.count().saturating_sub(1) as u64);
            put.metric("open_fds", "Open files", None, &open)?;
        }
        let limit = ConstGauge::new(limits::open_files());
        put.metric("max_fds", "Limit of open files", None, &limit)
    }
}

struct Put<'a>(DescriptorEncoder<'a>);

impl Put<'_> {
    fn metric(&mut self, name: &str, help: &str, unit: Option<&Unit>, metric: &impl EncodeMetric) -> fmt::Result {
        let name = format!("process_{name}");
        let encoder = self.0.encode_descriptor(&name, help, unit, metric.metric_type())?;
        metric.encode(encoder)
    }
}

/// CPU time that this process used, in seconds.
fn cpu_seconds() -> f64 {
    let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
    used.map_or(0.0, |used| used.as_secs_f64())
}

/// A number of `/proc/self/status`; memory is in KiB there.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn the_process_is_described_by_the_shared_names() {
        let mut registry = Registry::default();
        register(&mut registry, "mcp-test", "1.2.3");
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "mcp_build_info{program=\"mcp-test\",version=\"1.2.3\"} 1",
            "# TYPE process_start_time_seconds gauge",
            "# TYPE process_cpu_seconds counter",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_threads gauge",
            "# TYPE process_open_fds gauge",
            "# TYPE process_max_fds gauge",
        ] {
            assert!(page.contains(line), "{line} is missing in:\n{page}");
        }
    }

    #[test]
    fn fields_of_the_status_file_are_found_by_name() {
        let status = "Name:\tmcp\nVmRSS:\t    5120 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(5120));
        assert_eq!(field(status, "Threads:"), Some(3));
        assert_eq!(field(status, "VmSwap:"), None);
    }
}
