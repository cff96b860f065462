//! Drives the watcher over real calls: one call under way at most, one stream at most. What to do is the watcher's business.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Client, WatchOptions, WatchStream};
use tokio::sync::watch as signal;
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use super::{Shared, members, wire};
use crate::store::last_good::Kept;
use crate::store::watch::{Health, Input, Output, Pace, Watcher};
use crate::store::{Event, LastGoodUse, Reasons, Revision, StoreError, Subscription};
use crate::telemetry::stamp::rfc3339;

/// How long the first listing may take before the last good set serves in its place.
const PATIENCE: Duration = Duration::from_secs(2);

/// A subscription.
pub(super) struct Follower {
    shared: Arc<Shared>,
    prefix: String,
    /// Whether its state is told in metrics.
    is_config: bool,
    watcher: Watcher,
    began: Instant,
    call: Option<Running>,
    stream: Option<Stream>,
    /// Inputs of a message that held several.
    inbox: VecDeque<Input>,
    outbox: VecDeque<Event>,
    accept: signal::Receiver<u64>,
    /// Why the last call or stream failed.
    fault: Option<String>,
    /// What was told of a loss that is not over.
    told: Reasons,
    /// The cluster that the last listing came from.
    cluster: u64,
    /// Of all configuration: the set that serves until the cluster has answered.
    kept: Option<Arc<Kept>>,
}

struct Stream {
    watch: WatchStream,
    /// Who serves it.
    member: usize,
}

/// A call under way.
struct Running {
    op: &'static str,
    answer: Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send>>,
}

enum Answer {
    Input(Input),
    Stream(Stream),
}

impl Follower {
    /// Lists the prefix; the rest is done while somebody waits for events.
    pub(super) async fn begin(shared: Arc<Shared>, prefix: &str, accept: signal::Receiver<u64>) -> Result<Self, StoreError> {
        let watcher = Watcher::new(Pace::default(), getrandom::u64().unwrap_or(1));
        let is_config = shared.is_config(prefix);
        let kept = shared.kept().filter(|_| shared.is_all_config(prefix));
        let mut follower = Self {
            shared,
            prefix: prefix.to_owned(),
            is_config,
            watcher: if is_config { watcher } else { watcher.unguarded() },
            began: Instant::now(),
            call: None,
            stream: None,
            inbox: VecDeque::from([Input::Begin]),
            outbox: VecDeque::new(),
            accept,
            fault: None,
            told: Reasons::default(),
            cluster: 0,
            kept: None,
        };
        while follower.outbox.is_empty() {
            match &kept {
                None => {
                    let input = follower.input().await;
                    follower.take(input);
                }
                Some(_) => match timeout_at(follower.began + PATIENCE, follower.input()).await {
                    Ok(input) => follower.take(input),
                    Err(_) => follower.fault = Some(format!("no answer within {PATIENCE:?}")),
                },
            }
            let has_failed = follower.watcher.is_waiting() || follower.began.elapsed() >= PATIENCE;
            match &kept {
                Some(kept) if has_failed && follower.outbox.is_empty() => follower.serve(kept),
                None if follower.watcher.is_waiting() => {
                    return Err(StoreError::Unavailable { reason: follower.fault.unwrap_or_default() });
                }
                Some(_) | None => {}
            }
        }
        Ok(follower)
    }

    /// Gives out the last good set; the watcher goes on as if it had been its listing.
    fn serve(&mut self, kept: &Arc<Kept>) {
        let (saved_at, revision) = (kept.saved_at, kept.listing.at);
        tracing::warn!(
            prefix = self.prefix,
            revision,
            saved_at = rfc3339(saved_at),
            entries = kept.listing.entries.len(),
            reason = self.fault.as_deref().unwrap_or_default(),
            "the store does not answer: the last good set serves"
        );
        self.watcher.remember(&kept.listing.entries);
        self.outbox.push_back(Event::Reset(kept.listing.clone()));
        if let Some(keeper) = &self.shared.keeper {
            keeper.take_kept(kept);
        }
        self.shared.metrics.set_store_up(false);
        self.shared.metrics.set_config_stale(true);
        self.shared.stand(|standing| standing.last_good = Some(LastGoodUse { revision, saved_at }));
        self.told.is_news(self.fault.as_deref().unwrap_or_default());
        self.kept = Some(kept.clone());
    }

    /// Tells the subscriber, and whoever keeps a copy of it.
    fn emit(&mut self, event: Event) {
        if self.shared.is_all_config(&self.prefix) {
            self.shared.forget_kept();
            if let Some(kept) = self.kept.take() {
                self.shared.stand(|standing| standing.last_good = None);
                let is_the_same_cluster = kept.cluster == self.cluster;
                let was = kept.listing.at;
                tracing::info!(prefix = self.prefix, was, is_the_same_cluster, "the store answers: the last good set is replaced");
            }
            if let Some(keeper) = &self.shared.keeper {
                keeper.take(self.cluster, &event);
            }
        }
        self.outbox.push_back(event);
    }

    /// What happens next. Cancel safe: calls and streams live in `self`.
    async fn input(&mut self) -> Input {
        loop {
            if let Some(input) = self.inbox.pop_front() {
                return input;
            }
            let due = self.watcher.due().map(|due| self.began + due);
            tokio::select! {
                answer = of_call(&mut self.call) => {
                    let op = self.call.take().map_or("", |call| call.op);
                    match answer {
                        Ok(Answer::Input(input)) => return input,
                        Ok(Answer::Stream(stream)) => self.stream = Some(stream),
                        Err(fault) => {
                            self.shared.metrics.count_store_error(op);
                            let failure = fault.failure();
                            self.note(fault.to_string());
                            return Input::Failed(failure);
                        }
                    }
                }
                message = of_stream(&mut self.stream) => match message {
                    Ok(inputs) => self.inbox.extend(inputs),
                    Err(error) => {
                        self.broken(error.as_ref());
                        return Input::Ended;
                    }
                },
                Ok(()) = self.accept.changed() => return Input::Accept,
                () = at(due) => return Input::Tick,
            }
        }
    }

    fn broken(&mut self, error: Option<&etcd_client::Error>) {
        self.shared.metrics.count_store_error("watch");
        let Some(stream) = self.stream.take() else { return };
        let url = self.shared.members.url(stream.member);
        self.shared.members.leave(stream.member);
        self.note(error.map_or_else(|| format!("{url}: the watch ended"), |error| Fault::of(url, error).to_string()));
    }

    /// Keeps what went wrong last. While the store is lost, a new reason is told: the first one (a refused connection) need not be the
    /// one that lasts (a wrong password).
    fn note(&mut self, reason: String) {
        if !self.told.is_empty() && self.told.is_news(&reason) {
            tracing::warn!(prefix = self.prefix, reason, "the store stays lost");
        }
        self.fault = Some(reason);
    }

    fn take(&mut self, input: Input) {
        if let Input::Cancelled { compacted } = &input {
            tracing::debug!(compacted, prefix = self.prefix, "the store ended the watch");
        }
        if let Input::Page(page) = &input {
            self.cluster = page.header.cluster;
        }
        let watcher = std::mem::replace(&mut self.watcher, Watcher::new(Pace::default(), 0));
        let (watcher, outputs) = watcher.step(self.began.elapsed(), input);
        self.watcher = watcher;
        for output in outputs {
            self.act(output);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::List { from, at } => self.list(from, at),
            Output::OpenWatch { from } => self.open(from),
            Output::CloseWatch => {
                // what it still had to say is of no interest
                self.inbox.clear();
                if let Some(stream) = self.stream.take() {
                    self.shared.members.leave(stream.member);
                }
                self.call = None;
            }
            Output::Audit { at } => self.audit(at),
            Output::AskProgress => self.ask_progress(),
            Output::Emit(event) => self.emit(event),
            Output::Resync(reason) => {
                if self.is_config {
                    self.shared.metrics.count_resync(reason.as_str());
                }
                let position = self.watcher.position();
                tracing::warn!(reason = reason.as_str(), position, prefix = self.prefix, "everything is listed again");
            }
            Output::Health(health) => self.tell(health),
        }
    }

    fn list(&mut self, from: Option<Bytes>, at: Option<Revision>) {
        let (shared, prefix) = (self.shared.clone(), self.prefix.clone());
        self.start("list", async move {
            let page = shared.page(&prefix, from.as_ref(), at).await?;
            Ok(Answer::Input(Input::Page(page)))
        });
    }

    fn open(&mut self, from: Revision) {
        let (shared, prefix) = (self.shared.clone(), self.prefix.clone());
        self.start("watch", async move {
            let options = WatchOptions::new().with_prefix().with_start_revision(wire::number(from));
            let options = options.with_progress_notify().with_fragment();
            let watch = |client: Client| {
                let (prefix, options) = (prefix.clone(), options.clone());
                async move { members::watch(&client).watch(prefix, Some(options)).await }
            };
            let watch = shared.members.ask(watch).await?;
            Ok(Answer::Stream(Stream { watch, member: shared.members.current() }))
        });
    }

    fn audit(&mut self, at: Option<Revision>) {
        let (shared, prefix) = (self.shared.clone(), self.prefix.clone());
        self.start("audit", async move {
            let (tally, header) = shared.audit(&prefix, at).await?;
            Ok(Answer::Input(Input::Audited { tally, header }))
        });
    }

    fn start(&mut self, op: &'static str, call: impl Future<Output = Result<Answer, Fault>> + Send + 'static) {
        self.call = Some(Running { op, answer: Box::pin(call) });
    }

    fn ask_progress(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        // a queue that is full means that enough was asked already
        let _ = pin!(stream.watch.request_progress()).poll(&mut Context::from_waker(Waker::noop()));
    }

    fn tell(&mut self, health: Health) {
        // before its first answer a store is not there yet, which is no news
        let is_news = self.fault.is_some();
        self.told.clear();
        if self.is_config {
            self.shared.metrics.set_store_up(health.up);
            self.shared.metrics.set_config_stale(!health.up || health.held > 0);
            self.shared.metrics.set_config_held(health.held);
            self.shared.stand(|standing| (standing.up, standing.held) = (health.up, health.held));
        }
        let prefix = &self.prefix;
        if !health.up && !is_news {
            return;
        }
        if !health.up {
            let reason = self.fault.as_deref().unwrap_or_default();
            self.told.is_news(reason);
            tracing::warn!(prefix, reason, "the store is lost; what was applied goes on serving");
        } else if health.held > 0 {
            tracing::error!(prefix, held = health.held, "the store lost most objects: they are kept until their deletion is accepted");
        } else {
            tracing::info!(prefix, "the store is followed");
        }
    }
}

#[async_trait]
impl Subscription for Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.outbox.pop_front() {
                return Some(event);
            }
            let input = self.input().await;
            self.take(input);
        }
    }
}

async fn of_call(call: &mut Option<Running>) -> Result<Answer, Fault> {
    match call {
        Some(call) => call.answer.as_mut().await,
        None => pending().await,
    }
}

/// An error that is none: the stream ended.
async fn of_stream(stream: &mut Option<Stream>) -> Result<Vec<Input>, Option<etcd_client::Error>> {
    let Some(stream) = stream else { return pending().await };
    match stream.watch.message().await {
        Ok(Some(message)) => Ok(wire::inputs(message.0)),
        Ok(None) => Err(None),
        Err(error) => Err(Some(error)),
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => pending().await,
    }
}
