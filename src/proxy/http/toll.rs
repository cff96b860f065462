//! The limit between a request's route and its node: asked once, waited for where there is a queue, and told to the client.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request;
use tokio::time::Instant;

use super::serve::Front;
use crate::base::reason::Reason;
use crate::limit::{Decision, Hold, LimitKey, Permit, Refused, Standing};
use crate::route::http::cookie::cookie;
use crate::snapshot::{HttpRoute, Snapshot};

/// Leave to pass, and how the count stood.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) hold: Option<Hold>,
    pub(super) standing: Option<Standing>,
}

/// What a request that may not pass is told.
#[derive(Debug)]
pub(super) struct TurnedAway {
    pub(super) reason: Reason,
    retry_after: Option<Duration>,
    standing: Option<Standing>,
}

/// Asks the limit that counts for a route; `None` where none does.
pub(super) fn ask(front: &Front, snapshot: &Snapshot, route: &HttpRoute, head: &request::Parts, now: Instant) -> Option<Decision> {
    let limiter = snapshot.limiter(&route.limit)?;
    let series = route.series.limit(limiter.policy(), limiter.scope());
    let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    let key = LimitKey::of(limiter.by(), front.session.client().0.ip(), header, |name| cookie(&head.headers, name));
    Some(limiter.ask(&key, now, &series))
}

/// Waits for the permit, at most for the timeout of the route. Dropping the future leaves the queue.
pub(super) async fn wait(decision: Option<Decision>, front: &Front, timeout: Duration) -> Result<Pass, TurnedAway> {
    let waiting = match decision {
        None => return Ok(Pass::default()),
        Some(Decision::Granted(permit)) => return Ok(pass(permit)),
        Some(Decision::Refused(Refused { retry_after, standing })) => {
            return Err(TurnedAway { reason: Reason::Limited, retry_after, standing: Some(standing) });
        }
        Some(Decision::Queued(waiting)) => waiting,
    };
    let mut waiting = waiting.until(Instant::now() + timeout);
    let turned_away = |reason| TurnedAway { reason, retry_after: None, standing: None };
    poll_fn(|cx| match front.session.asked_to_end() {
        Some(reason) => Poll::Ready(Err(turned_away(reason))),
        None => Pin::new(&mut waiting).poll(cx).map(|got| got.map(pass).map_err(|_| turned_away(Reason::QueueTimeout))),
    })
    .await
}

fn pass(permit: Permit) -> Pass {
    let standing = Some(permit.standing);
    Pass { hold: permit.into_hold(), standing }
}

impl TurnedAway {
    /// Tells the client when to come again (RFC 9110, 10.2.3), and how it stands.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if self.reason != Reason::Limited {
            return;
        }
        headers.insert(RETRY_AFTER, seconds(self.retry_after.unwrap_or(Duration::from_secs(1))));
        if let Some(standing) = &self.standing {
            tell(standing, headers);
        }
    }
}

/// The three fields that clients of rate limits look for.
pub(super) fn tell(standing: &Standing, headers: &mut HeaderMap) {
    const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
    const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
    const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
    headers.insert(LIMIT, standing.limit.into());
    headers.insert(REMAINING, standing.remaining.into());
    if let Some(reset) = standing.reset {
        headers.insert(RESET, seconds(reset));
    }
}

/// Whole seconds, rounded up: whoever comes then is not too early.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, told) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            assert_eq!(seconds(Duration::from_millis(millis)), told);
        }
    }
}
