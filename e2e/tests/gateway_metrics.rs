//! The figures that dashboards and alerts ask for are there.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::client::HttpClient;
use e2e::harness::{Gateway, fixture};
use e2e::http::http;
use serde_json::json;

/// The names of our own figures in a text, without what histograms and counters add.
fn figures(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let own = words.filter(|word| word.starts_with("mcp_gateway_") || word.starts_with("mcp_build"));
    own.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[tokio::test]
async fn every_figure_of_dashboard_and_alerts_is_exported() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mcp-gateway");
    let asked: BTreeSet<String> = ["dashboard.json", "templates/monitoring.yaml"]
        .iter()
        .flat_map(|file| figures(&std::fs::read_to_string(chart.join(file)).unwrap()))
        .collect();
    assert!(asked.len() > 3, "{asked:?}");
    let config = json!({"mcpServers": {"on": fixture(&[]), "off": {"command": "none", "suspend": true}}});
    let gateway = Gateway::start(&config).await.unwrap();
    gateway.wait_status("on", "ready").await.unwrap();
    HttpClient::connect(&gateway.url("/on/mcp"), "2025-11-25").await.unwrap();
    let url = format!("{}/metrics", gateway.admin().await.unwrap());
    let page = http("GET", &url, &[], "").await.unwrap().expect(200).unwrap().text();
    let lines: Vec<&str> = page.lines().collect();
    for figure in asked {
        assert!(lines.iter().any(|line| line.starts_with(&figure)), "{figure} is missing in\n{page}");
    }
    assert!(lines.contains(&r#"mcp_gateway_server_ready{server="on"} 1"#), "{page}");
    assert!(!page.contains(r#"mcp_gateway_server_ready{server="off"}"#), "one that is off is not missing:\n{page}");
}
