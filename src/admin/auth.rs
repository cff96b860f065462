//! Who may ask the Admin API: addresses, keys, roles. Nothing here is told which object is asked for.

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use subtle::{Choice, ConstantTimeEq};

use super::envelope::Answer;
use super::query::Query;
use super::server::Head;
use crate::base::cidr::Cidr;
use crate::base::secret::Secret;

/// What the holder of a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// `GET` alone.
    Viewer,
}

/// One key.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// Whose it is; for people.
    pub name: String,
    /// The key itself. An empty one fits nobody.
    pub secret: Secret<String>,
    /// What its holder may do.
    pub role: Role,
}

/// The keys of the Admin API.
#[derive(Clone, Debug)]
pub struct Keys {
    /// False: everybody who reaches the address may do everything.
    pub required: bool,
    /// The keys.
    pub list: Vec<AdminKey>,
}

/// `403` unless the address is in one of the blocks; an empty list lets everybody in.
pub(super) fn address(allow: &[Cidr], peer: IpAddr) -> Result<(), Answer> {
    if allow.is_empty() || allow.iter().any(|block| block.contains(peer)) {
        return Ok(());
    }
    Err(Answer::error(StatusCode::FORBIDDEN, "this address is not in allow_admin"))
}

/// Why a request may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It has no key.
    Missing,
    /// Its key fits nobody.
    Wrong,
    /// Its key's role does not cover its method.
    Role,
    /// It came from a page of another site.
    Origin,
}

impl Failure {
    /// The word in the metric.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Role => "role",
            Self::Origin => "origin",
        }
    }

    /// What the client is told.
    pub(super) fn answer(self) -> Answer {
        let description = match self {
            Self::Missing => "missing apikey",
            Self::Wrong => "wrong apikey",
            Self::Role => "invalid method for role viewer",
            Self::Origin => return Answer::error(StatusCode::FORBIDDEN, "requests from other sites need a key"),
        };
        let body = json!({ "error_msg": "failed to check token", "description": description });
        Answer::json(StatusCode::UNAUTHORIZED, &body)
    }
}

/// `429` for a client that failed too often, for the rest of its window.
pub(super) fn slow_down(rest: Duration) -> Answer {
    let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
    let message = format!("too many wrong keys from this address; try again in {seconds} s");
    Answer::error(StatusCode::TOO_MANY_REQUESTS, message).with(header::RETRY_AFTER, HeaderValue::from(seconds))
}

impl Keys {
    /// Whether the request carries a key whose role covers its method.
    pub(super) fn check(&self, head: &Head) -> Result<(), Failure> {
        if !self.required {
            return same_origin(&head.headers);
        }
        let key = presented(&head.query, &head.headers).ok_or(Failure::Missing)?;
        match self.role(key.as_bytes()) {
            None => Err(Failure::Wrong),
            Some(Role::Viewer) if head.method != Method::GET => Err(Failure::Role),
            Some(_) => Ok(()),
        }
    }

    /// The role of a key. Looks at every key, so that the time tells neither which one fits nor how far a wrong one does.
    fn role(&self, presented: &[u8]) -> Option<Role> {
        let mut role = None;
        for key in &self.list {
            let secret = key.secret.reveal().as_bytes();
            let fits = secret.ct_eq(presented) & Choice::from(u8::from(!secret.is_empty()));
            if bool::from(fits) && role.is_none() {
                role = Some(key.role);
            }
        }
        role
    }
}

/// The first key that the request has: argument, header, cookie.
fn presented<'a>(query: &'a Query, headers: &'a HeaderMap) -> Option<&'a str> {
    let header = || headers.get("x-api-key").and_then(|value| value.to_str().ok());
    query.get("api_key").or_else(header).or_else(|| cookie(headers, "x_api_key"))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// Without keys a page from elsewhere could write through the browser of whoever looks at it: such requests say where they are from.
fn same_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let (Some(origin), host) = (headers.get(header::ORIGIN), headers.get(header::HOST)) else { return Ok(()) };
    let text = |value: &'_ HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let (origin, host) = (text(origin), host.map(text));
    if origin.split_once("://").map(|(_, rest)| rest) == host.as_deref() {
        return Ok(());
    }
    Err(Failure::Origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &str, role: Role) -> AdminKey {
        AdminKey { name: name.into(), secret: Secret::new(secret.into()), role }
    }

    fn keys() -> Keys {
        Keys { required: true, list: vec![key("none", "", Role::Admin), key("a", "secret", Role::Admin), key("v", "look", Role::Viewer)] }
    }

    fn head(method: &str, query: &str, headers: &[(&'static str, &str)]) -> Head {
        let headers = headers.iter().map(|(n, v)| (header::HeaderName::from_static(n), HeaderValue::from_str(v).unwrap()));
        Head {
            method: method.parse().unwrap(),
            path: "/apisix/admin/upstreams".into(),
            query: Query::parse(query),
            headers: headers.collect(),
            peer: [127, 0, 0, 1].into(),
        }
    }

    fn told(head: &Head) -> String {
        match keys().check(head) {
            Ok(()) => "ok".into(),
            Err(failure) => {
                let (status, body) = failure.answer().parts();
                assert_eq!((status, &body["error_msg"]), (401, &"failed to check token".into()));
                body["description"].as_str().unwrap().into()
            }
        }
    }

    #[test]
    fn a_key_is_taken_from_argument_header_or_cookie_in_that_order() {
        for (query, headers, says) in [
            ("", vec![], "missing apikey"),
            ("", vec![("x-api-key", "secret")], "ok"),
            ("", vec![("x-api-key", "secret2")], "wrong apikey"),
            ("", vec![("x-api-key", "secre")], "wrong apikey"),
            ("", vec![("x-api-key", "")], "wrong apikey"),
            ("api_key=secret", vec![], "ok"),
            ("api_key=secret", vec![("x-api-key", "wrong")], "ok"),
            ("api_key=wrong", vec![("x-api-key", "secret")], "wrong apikey"),
            ("api_key=", vec![("x-api-key", "secret")], "wrong apikey"),
            ("", vec![("cookie", "a=b; x_api_key=secret")], "ok"),
            ("", vec![("x-api-key", "wrong"), ("cookie", "x_api_key=secret")], "wrong apikey"),
            ("?api_key=look", vec![], "missing apikey"),
        ] {
            assert_eq!(told(&head("GET", query, &headers)), says, "{query} {headers:?}");
        }
    }

    #[test]
    fn a_viewer_may_only_look() {
        assert_eq!(told(&head("GET", "api_key=look", &[])), "ok");
        for method in ["PUT", "POST", "DELETE", "PATCH", "HEAD"] {
            assert_eq!(told(&head(method, "api_key=look", &[])), "invalid method for role viewer");
        }
    }

    #[test]
    fn without_keys_everybody_is_let_in_but_pages_of_other_sites() {
        let open = Keys { required: false, list: vec![] };
        let from = |origin: &str| open.check(&head("POST", "", &[("host", "127.0.0.1:9180"), ("origin", origin)])).is_ok();
        assert!(open.check(&head("DELETE", "", &[])).is_ok());
        assert!(from("http://127.0.0.1:9180"));
        assert!(!from("https://example.com") && !from("null"));
    }

    #[test]
    fn only_listed_addresses_are_let_in() {
        let allow = ["127.0.0.0/24".parse().unwrap(), "::1".parse().unwrap()];
        assert!(address(&allow, "127.0.0.9".parse().unwrap()).is_ok());
        assert!(address(&allow, "::1".parse().unwrap()).is_ok());
        assert_eq!(address(&allow, "127.0.1.1".parse().unwrap()).unwrap_err().parts().0, 403);
        assert!(address(&[], "10.0.0.1".parse().unwrap()).is_ok());
    }

    #[test]
    fn keys_are_not_shown() {
        assert!(!format!("{:?}", keys()).contains("secret\""));
    }
}
