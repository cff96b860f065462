//! Readiness: whether this process should get new connections, and if not, why.

use hyper::StatusCode;
use serde_json::json;

use super::envelope::Answer;
use crate::base::drain::Phase;
use crate::live::listeners::{PortState, PortStatus};

/// `200 {"ready": true}`, or 503 with every reason.
pub(super) fn ready(applied: Option<u64>, ports: &[PortStatus], phase: Phase) -> Answer {
    let reasons = reasons(applied, ports, phase);
    if reasons.is_empty() {
        return Answer::ok(&json!({ "ready": true }));
    }
    Answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reasons": reasons }))
}

/// Whether there is no reason against it.
pub(super) fn is_ready(applied: Option<u64>, ports: &[PortStatus], phase: Phase) -> bool {
    reasons(applied, ports, phase).is_empty()
}

fn reasons(applied: Option<u64>, ports: &[PortStatus], phase: Phase) -> Vec<String> {
    let mut reasons = Vec::new();
    if phase >= Phase::Draining {
        reasons.push("draining".to_owned());
    }
    if applied.is_none() {
        reasons.push("configuration not applied yet".to_owned());
    }
    reasons.extend(ports.iter().filter(|port| port.required).filter_map(unbound));
    reasons
}

fn unbound(port: &PortStatus) -> Option<String> {
    let why = match &port.state {
        PortState::Active => return None,
        PortState::Failed { message, .. } => message.clone(),
        PortState::Conflict { winner } => format!("listener {winner} has the address"),
        PortState::Draining => "closed, its sessions are ending".to_owned(),
    };
    Some(format!("listener {} on {} is not bound: {why}", port.listener, port.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::{Port, Protocol, Transport};
    use crate::base::id::Id;

    fn port(state: PortState, required: bool) -> PortStatus {
        let port = Port { transport: Transport::Tcp, addr: "127.0.0.1:9100".parse().unwrap() };
        PortStatus { listener: Id::parse("conf-tcp-0").unwrap(), protocol: Protocol::Tcp, port, state, required }
    }

    fn failed() -> PortState {
        PortState::Failed { errno: 98, message: "address in use".into() }
    }

    #[test]
    fn applied_with_its_required_ports_bound_is_ready() {
        let ports = [port(PortState::Active, true), port(failed(), false)];
        assert_eq!(ready(Some(0), &ports, Phase::Running).parts(), (200, json!({ "ready": true })));
    }

    #[test]
    fn every_reason_is_named() {
        let (status, body) = ready(None, &[port(failed(), true)], Phase::Draining).parts();
        let reasons =
            ["draining", "configuration not applied yet", "listener conf-tcp-0 on tcp://127.0.0.1:9100 is not bound: address in use"];
        assert_eq!((status, body), (503, json!({ "ready": false, "reasons": reasons })));
        let taken = PortState::Conflict { winner: Id::parse("b").unwrap() };
        let (_, body) = ready(Some(1), &[port(taken, true)], Phase::Running).parts();
        assert!(body["reasons"][0].as_str().unwrap().ends_with("listener b has the address"));
    }
}
