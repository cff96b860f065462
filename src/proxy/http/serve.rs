//! One client connection that speaks HTTP/1.1, request after request.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::exchange::exchange;
use crate::snapshot::L4Route;
use crate::upstream::http::Wire;

/// What all requests of a connection share.
#[derive(Debug)]
pub struct Front {
    /// Prototype.
    pub route: Arc<L4Route>,
}

/// Serves a connection to its end.
pub async fn serve(wire: Wire, front: Arc<Front>) {
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(exchange(&front, request).await) }
    });
    let conn = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(wire), service);
    if let Err(error) = conn.await {
        tracing::debug!(%error, "connection");
    }
}
