//! The limit between a session's route and its node: asked once, waited for where there is a queue. Decides nothing itself.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::base::reason::Reason;
use crate::limit::{Decision, LimitKey};
use crate::live::sessions::Session;
use crate::net::presence;
use crate::proxy::tcp::{Pass, Plan};
use crate::snapshot::{L4Route, Snapshot};

/// Asks the limit that counts for a route. Below HTTP the key is the client's address.
///
/// # Errors
/// The session ends with `limited`.
pub(super) fn ask(snapshot: &Snapshot, route: &L4Route, session: &Session, now: Instant) -> Result<Pass, Reason> {
    let Some(limiter) = snapshot.limiter(&route.limit) else { return Ok(Pass::Free) };
    let series = route.series.limit(limiter.policy(), limiter.scope());
    match limiter.ask(&LimitKey::Client(session.client().0.ip()), now, &series) {
        Decision::Granted(permit) => Ok(permit.into_hold().map_or(Pass::Free, Pass::Held)),
        Decision::Queued(waiting) => Ok(Pass::Waits(Box::new(waiting))),
        Decision::Refused(_) => Err(Reason::Limited),
    }
}

/// Waits for the permit of a plan that waits: at most for the session's idle time, and not beyond its longest duration. The client
/// is not read meanwhile; one that goes away leaves the queue. `began` is when the session was accepted.
///
/// # Errors
/// What the session ends with. Dropping the future leaves the queue.
pub(super) async fn wait(stream: &TcpStream, session: &Session, plan: &mut Plan, began: Instant) -> Result<(), Reason> {
    let Pass::Waits(waiting) = std::mem::take(&mut plan.pass) else { return Ok(()) };
    let patience = Instant::now() + plan.route.idle.unwrap_or(plan.default_timeout);
    let end = plan.route.max_duration.map(|longest| began + longest).filter(|end| *end < patience);
    let mut waiting = waiting.until(end.unwrap_or(patience));
    let mut gone = pin!(presence::gone(stream));
    let permit = poll_fn(|cx| {
        if let Poll::Ready(got) = Pin::new(&mut waiting).poll(cx) {
            return Poll::Ready(got.map_err(|_| if end.is_some() { Reason::MaxDuration } else { Reason::QueueTimeout }));
        }
        if let Poll::Ready(reason) = session.poll_end(cx) {
            return Poll::Ready(Err(reason));
        }
        gone.as_mut().poll(cx).map(|()| Err(Reason::ClientReset))
    })
    .await?;
    plan.pass = permit.into_hold().map_or(Pass::Free, Pass::Held);
    Ok(())
}
