use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::spec::Target;

fn json(text: &str) -> Result<ConfigFile, Mistakes> {
    ConfigFile::parse(Path::new("mcp.json"), text)
}

fn yaml(text: &str) -> Result<ConfigFile, Mistakes> {
    ConfigFile::parse(Path::new("gateway.yaml"), text)
}

const YAML: &str = r"
# The gateway
listen: 0.0.0.0:8080
admin: 127.0.0.1:9090
stateDir: /var/lib/mcp
allowAnonymous: false
publicHosts: [MCP.example.com, mcp.example.com:8443]
allowedOrigins:
  - https://app.example.com
cors: true
noPrefix: true
queryKeys: false
requestTimeout: 90s
drainTimeout: 30s
maxBodyBytes: 1048576
maxStreamsPerPrincipal: 100
mcpServers:
  time:
    command: uvx
    args: [mcp-server-time, --local-timezone=America/New_York]
    env: {PORT: 8080, VERSION: 3.10, COUNTRY: NO, FLAG: true, OCTAL: 0o17, TEXT: '007'}
  remote: {url: https://h/mcp, disabled: true}
";

#[test]
fn yaml_holds_settings_beside_the_servers() {
    let config = yaml(YAML).unwrap();
    let expected = Settings {
        listen: Some("0.0.0.0:8080".parse().unwrap()),
        admin: Some("127.0.0.1:9090".parse().unwrap()),
        state_dir: Some("/var/lib/mcp".into()),
        allow_anonymous: Some(false),
        public_hosts: Some(vec!["mcp.example.com".into(), "mcp.example.com:8443".into()]),
        allowed_origins: Some(vec!["https://app.example.com".into()]),
        cors: Some(true),
        no_prefix: Some(true),
        query_keys: Some(false),
        request_timeout: Some(Duration::from_secs(90)),
        drain_timeout: Some(Duration::from_secs(30)),
        max_body_bytes: Some(1 << 20),
        max_streams_per_principal: NonZeroU32::new(100),
    };
    assert_eq!(config.settings, expected);
    let names: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
    assert_eq!(names, ["remote", "time"]);
}

#[test]
fn yaml_values_reach_a_server_as_they_are_written() {
    let config = yaml(YAML).unwrap();
    let time = &config.servers[&ServerName::parse("time").unwrap()];
    let Target::Command(command) = &time.target else { panic!("a command") };
    let values: Vec<_> = command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(values.join(" "), "COUNTRY=NO FLAG=true OCTAL=0o17 PORT=8080 TEXT=007 VERSION=3.10");
}

#[test]
fn json_holds_servers_alone_or_with_settings() {
    let config = json(r#"{"mcpServers": {"time": {"command": "uvx"}}}"#).unwrap();
    assert_eq!((config.servers.len(), config.settings), (1, Settings::default()));
    let config = json(r#"{"$schema": "x", "listen": "127.0.0.1:1", /* none */}"#).unwrap();
    assert_eq!(config.settings.listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(config.warnings, ["`$schema` is ignored: it is for editors"]);
}

#[test]
fn json_and_yaml_of_the_same_content_are_equal() {
    let text = r#"{"cors": true, "mcpServers": {"a": {"command": "x", "args": ["-y", "é"], "env": {"A": "1"}}}}"#;
    assert_eq!(json(text), yaml(text));
}

#[test]
fn all_mistakes_of_a_json_file_are_reported_at_once_with_their_places() {
    let mistakes = json(
        r#"{
  "listen": "8080",
  "stateDirectory": "/x",
  "stateDri": "/x",
  "requestTimeout": 60,
  "mcpServers": {
    "time": {"comand": "uvx"},
    "-bad": {"command": "x"},
    "both": {
      "command": "x",
      "url": "http://h",
      "args": ["a", 1]
    }
  },
  "publicHosts": ["https://h", "user@h"],
  "allowedOrigins": ["*", "https://h/", "https://u@h"],
  "maxBodyBytes": "16M"
}"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(mistakes, @r#"
    mcp.json:2:13: `listen` must be an address and a port such as `127.0.0.1:8080`
    mcp.json:3:3: unknown field `stateDirectory`: known are listen, admin, stateDir, allowAnonymous, publicHosts, allowedOrigins, cors, noPrefix, queryKeys, requestTimeout, drainTimeout, maxBodyBytes, maxStreamsPerPrincipal, mcpServers, servers
    mcp.json:4:3: unknown field `stateDri`: did you mean `stateDir`?
    mcp.json:5:21: `requestTimeout` must be a length of time above zero such as `500ms`, `90s`, `10m`, `1h30m` or `30d`
    mcp.json:7:13: server `time`: it needs `command` (a program to start) or `url` (a server elsewhere)
    mcp.json:7:14: server `time`: unknown field `comand`: did you mean `command`?
    mcp.json:8:5: server `-bad`: the server name "-bad" must start and end with a letter or digit; try "bad"
    mcp.json:11:7: server `both`: `command` and `url` exclude each other: keep one
    mcp.json:15:19: `publicHosts[0]` must be a host name such as `mcp.example.com`, with a port or without
    mcp.json:16:22: `allowedOrigins[0]` must be an origin such as `https://app.example.com`, without a path
    mcp.json:17:19: `maxBodyBytes` must be a whole number of at least 1024
    "#);
}

#[test]
fn all_mistakes_of_a_yaml_file_are_reported_at_once_with_their_places() {
    let mistakes =
        yaml("cors: yes\nlisten:\nmcpServers:\n  a:\n    command: uvx time\n    env:\n      A: [1]\n  b: {}\n");
    insta::assert_snapshot!(mistakes.unwrap_err(), @r#"
    gateway.yaml:1:7: `cors` must be true or false, not a string
    gateway.yaml:2:7: `listen` must be a string, not null
    gateway.yaml:5:14: server `a`: `command` must be the program alone: split it, as in "command": "uvx", "args": ["mcp-server-time"]
    gateway.yaml:7:10: server `a`: `env.A` must be a string, not an array
    gateway.yaml:8:6: server `b`: it needs `command` (a program to start) or `url` (a server elsewhere)
    "#);
}

#[test]
fn a_file_that_cannot_be_parsed_is_reported_with_its_place() {
    let deep = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
    let texts = ["a: 1\na: 2\n", "a: [1\nb: 2\n", "\tx: 1", "- a", "", "a: *b", &deep];
    let complaints = texts.map(|text| yaml(text).unwrap_err().to_string());
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    gateway.yaml:2:1: `a` stands twice, first on line 1: keep one
    gateway.yaml:2:2: illegal placement of ':' indicator
    gateway.yaml:1:2: unknown field `x`: known are listen, admin, stateDir, allowAnonymous, publicHosts, allowedOrigins, cors, noPrefix, queryKeys, requestTimeout, drainTimeout, maxBodyBytes, maxStreamsPerPrincipal, mcpServers, servers
    gateway.yaml:1:1: it must be an object, not an array
    gateway.yaml:1:1: it must be an object, not null
    gateway.yaml:1:4: alias references unknown anchor
    gateway.yaml:1:19: values are nested deeper than 16 levels
    "#);
    insta::assert_snapshot!(json("{\n  \"a\": 1\n  \"b\": 2\n}").unwrap_err(), @"mcp.json:2:9: expected comma");
}

#[test]
fn nesting_that_aliases_hide_is_refused() {
    let replayed =
        format!("a: &a {0}1{1}\nb: &b {0}*a{1}\nc: &c {0}*b{1}\nd: {0}*c{1}", "[".repeat(14), "]".repeat(14));
    assert!(yaml(&replayed).is_err());
}

#[test]
fn warnings_name_their_server() {
    let config = json(r#"{"mcpServers": {"a": {"command": "x", "autoApprove": []}}}"#).unwrap();
    assert_eq!(config.warnings, ["server `a`: `autoApprove` is ignored: it is a setting of clients"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = ConfigFile::load(Path::new("/nonexistent/mcp.json")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file /nonexistent/mcp.json: "), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_list_of_mistakes(text in "[{}\\[\\],:\"'&*<!|>#a1é \n-]{0,80}") {
        let _ = (json(&text), yaml(&text));
    }
}
