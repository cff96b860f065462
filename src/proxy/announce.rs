//! The first bytes to a node, where it is to learn of the client: a PROXY header. They are none of the session's bytes.

use tokio::net::TcpStream;

use super::tcp::Outcome;
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::model::ProxyVersion;
use crate::net::proxy_header::{Ends, v1, v2};
use crate::upstream::Connected;

/// Sends the header. A node that breaks the connection meanwhile has reset it, and no other is tried: a byte may have gone.
pub(super) async fn announce(connected: Connected, session: &Session, version: ProxyVersion) -> Result<Connected, Outcome> {
    let ends = ends(session);
    let bytes = match version {
        ProxyVersion::V1 => v1::write(&ends),
        ProxyVersion::V2 => v2::write(&ends),
    };
    match send(&connected.stream, &bytes).await {
        Ok(()) => Ok(connected),
        Err(error) => {
            tracing::debug!(node = %connected.node.label(), %error, "sending the PROXY header");
            let Connected { node, retries, took, .. } = connected;
            Err(Outcome { reason: Reason::UpstreamReset, node: Some(node), retries, connect: Some(took) })
        }
    }
}

/// The client and where it connected to: as a trusted peer said, and only so are both of one family, else as they are here.
fn ends(session: &Session) -> Ends {
    let destination = session.claim().map_or(session.local.0, |claim| claim.server.0);
    Ends { source: session.client().0, destination }
}

/// A new connection has room for so little, so that this waits for nothing.
async fn send(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
