//! Web sockets of HTTP/2 clients (RFC 8441): a CONNECT with a protocol becomes the handshake of HTTP/1.1 (RFC 6455, 4) that nodes know.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::ext::Protocol;
use hyper::header::{CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use hyper::http::{request, response};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};

/// What both sides know to put behind the key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A stream that wants to become a web socket.
#[derive(Debug)]
pub(super) struct Bridge {
    key: HeaderValue,
    /// The stream, once it was answered.
    pub(super) stream: OnUpgrade,
}

impl Bridge {
    /// Makes of a CONNECT for a web socket the GET that it stands for; `None` for any other request.
    ///
    /// # Errors
    /// The status to refuse a CONNECT with that asks for anything else.
    pub(super) fn take(head: &mut request::Parts) -> Result<Option<Self>, StatusCode> {
        if head.method != Method::CONNECT {
            return Ok(None);
        }
        let stream = head.extensions.remove::<OnUpgrade>();
        // without a protocol it is a tunnel to anywhere, which is not what a gateway offers
        let protocol = head.extensions.remove::<Protocol>().ok_or(StatusCode::BAD_GATEWAY)?;
        let stream = stream.filter(|_| protocol.as_str().eq_ignore_ascii_case("websocket")).ok_or(StatusCode::NOT_IMPLEMENTED)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        let key = HeaderValue::from_str(&STANDARD.encode(nonce)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        head.method = Method::GET;
        Ok(Some(Self { key, stream }))
    }

    /// Asks the node for it.
    pub(super) fn ask(&self, head: &mut request::Parts) {
        head.headers.insert(SEC_WEBSOCKET_KEY, self.key.clone());
        if !head.headers.contains_key(SEC_WEBSOCKET_VERSION) {
            head.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
    }

    /// Makes of the node's `101` the answer to the CONNECT. False: the node did not understand what it agreed to.
    pub(super) fn agreed(&self, head: &mut response::Parts) -> bool {
        let accept = head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        head.headers.remove(CONTENT_LENGTH);
        head.status = StatusCode::OK;
        accept.is_some_and(|accept| accept.as_bytes() == accepting(self.key.as_bytes()).as_bytes())
    }
}

/// The answer to a key (RFC 6455, 4.2.2).
fn accepting(key: &[u8]) -> String {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key);
    sha1.update(GUID);
    STANDARD.encode(sha1.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_standard_shows() {
        assert_eq!(accepting(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn other_requests_are_left_alone_and_other_tunnels_refused() {
        let head = |method: Method, protocol: Option<&'static str>| {
            let mut request = hyper::Request::builder().method(method).uri("http://a/").body(()).unwrap();
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            request.into_parts().0
        };
        assert!(Bridge::take(&mut head(Method::GET, None)).unwrap().is_none());
        assert_eq!(Bridge::take(&mut head(Method::CONNECT, None)).unwrap_err(), StatusCode::BAD_GATEWAY);
        assert_eq!(Bridge::take(&mut head(Method::CONNECT, Some("connect-udp"))).unwrap_err(), StatusCode::NOT_IMPLEMENTED);
    }
}
