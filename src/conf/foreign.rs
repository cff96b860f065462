//! Keys of APISIX's configuration file that have another name here, or none: what the message says of them. Nothing is read by these.

/// Where a key of APISIX stands, its name, and what to do with it. A place in a list is written without its number.
const KEYS: [(&str, &[&str], &str); 17] = [
    ("", &["nginx_config"], "leave it out; its `stream.real_ip_from` is `gateway.proxy_protocol.trusted`"),
    ("", &["plugins", "stream_plugins", "plugin_attr", "xrpc", "wasm", "ext-plugin"], "leave it out: there are no plugins"),
    ("", &["discovery"], "leave it out: services are not discovered"),
    ("gateway", &["enable_ipv6"], "leave it out; `\"[::]:9100\"` listens on IPv6"),
    ("gateway", &["enable_reuseport", "disable_sync_configuration_during_start", "worker_startup_time_threshold"], "leave it out"),
    ("gateway", &["enable_control", "control"], "write `telemetry.control_listen`"),
    ("gateway", &["status"], "write `telemetry.metrics_listen`: `/healthz` and `/readyz` are there"),
    (
        "gateway",
        &["dns_resolver_valid", "resolver_timeout", "enable_resolv_search_opt"],
        "leave it out: names are asked of the system's resolver",
    ),
    ("gateway.stream_proxy", &["only"], "write `gateway.proxy_mode: stream`"),
    ("gateway.stream_proxy.tcp", &["tls_passthrough"], "write `tls: true` here and `tls_passthrough: true` in the stream route"),
    ("gateway.ssl", &["ssl_protocols"], "write it in the `ssls` that it is for"),
    ("gateway.ssl", &["ssl_ciphers", "ssl_session_tickets", "ssl_trusted_certificate"], "leave it out"),
    (
        "gateway.proxy_protocol",
        &["listen_http_port", "listen_https_port"],
        "write a listener of `protocol: http` with `proxy_protocol`, by the Admin API",
    ),
    ("gateway.data_encryption", &["enable_encrypt_fields"], "leave it out: private keys are always sealed"),
    (
        "deployment",
        &["role", "role_traditional", "role_control_plane", "role_data_plane"],
        "write `deployment.config_provider`: every gateway is both planes",
    ),
    ("deployment.etcd", &["watch_timeout", "startup_retry", "resync_delay", "health_check_timeout"], "leave it out"),
    (
        "deployment.admin",
        &["enable_admin_cors", "enable_admin_ui", "https_admin", "admin_api_mtls", "admin_api_version"],
        "leave it out: the Admin API is version 3, without TLS",
    ),
];

/// What to do with a key of APISIX that stands in a map at `path`.
pub(super) fn advice(path: &str, key: &str) -> Option<&'static str> {
    let place = path.split_once('[').map_or(path, |(list, _)| list);
    KEYS.iter().find(|(at, keys, _)| *at == place && keys.contains(&key)).map(|(_, _, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_place() {
        assert_eq!(advice("gateway.stream_proxy", "only"), Some("write `gateway.proxy_mode: stream`"));
        assert!(advice("gateway.stream_proxy.tcp[12]", "tls_passthrough").is_some());
        assert_eq!(advice("gateway", "only"), None);
        assert_eq!(advice("", "role"), None);
    }
}
