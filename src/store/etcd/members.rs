//! The members of the cluster: a client for each, the one that answered last first. Asks the others at once when it does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::EtcdOptions;
use super::dial::Dial;
use super::fault::{Fault, Meaning};
use crate::base::secret::Secret;
use crate::store::StoreError;

/// The largest message that is read. The client's own limit of 4 MiB is less than a page of large values.
const LARGEST: usize = 1 << 30;

/// A call that was begun.
pub(super) trait Call<T>: Future<Output = Result<T, etcd_client::Error>> + Send {}

impl<T, F: Future<Output = Result<T, etcd_client::Error>> + Send> Call<T> for F {}

/// All members.
pub(super) struct Members {
    list: Vec<Member>,
    /// The one that is asked first.
    current: AtomicUsize,
    user: Option<(String, Secret<String>)>,
    limit: Duration,
    dial: Dial,
}

/// One member. Its connection is made when it is needed, and made again when it is lost.
pub(super) struct Member {
    url: String,
    /// The client, and the mark of the files that it was made from.
    client: Mutex<(Client, u64)>,
    /// How often we have logged in; 0: not yet.
    logins: Mutex<u64>,
}

impl Members {
    /// Makes the clients; connects to nobody.
    pub(super) async fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let dial = Dial::new(options);
        let mut list = Vec::new();
        for url in &options.hosts {
            let (client, mark) = dial.client(url).await?;
            list.push(Member { url: url.clone(), client: Mutex::new((client, mark)), logins: Mutex::new(0) });
        }
        if list.is_empty() {
            return Err(StoreError::Unusable { path: "etcd".to_owned(), reason: "no host is given".to_owned() });
        }
        Ok(Self { list, current: AtomicUsize::new(0), user: options.user.clone(), limit: options.timeout, dial })
    }

    /// Makes a call that may be made twice: at the member that answered last, then at each other one, then once more, so that a
    /// connection which broke unseen costs nothing either.
    pub(super) async fn ask<T, F: Call<T>>(&self, call: impl Fn(Client) -> F) -> Result<T, Fault> {
        let mut tries = self.list.len();
        loop {
            match self.ask_one(&call).await {
                Err(fault) if fault.is_of_the_member() && tries > 0 => tries -= 1,
                answer => return answer,
            }
        }
    }

    /// Makes a call that must not be made twice: at each member until one has it.
    pub(super) async fn ask_once<T, F: Call<T>>(&self, call: impl Fn(Client) -> F) -> Result<T, Fault> {
        let mut tries = self.list.len();
        loop {
            match self.ask_one(&call).await {
                Err(fault) if fault.meaning == Meaning::NotDone && tries > 0 => tries -= 1,
                answer => return answer,
            }
        }
    }

    /// Asks the current member; the next one is current if that fails.
    async fn ask_one<T, F: Call<T>>(&self, call: &impl Fn(Client) -> F) -> Result<T, Fault> {
        let at = self.current();
        let Some(member) = self.list.get(at) else {
            return Err(Fault::late("etcd", self.limit));
        };
        let answer = self.at(member, call).await;
        if answer.as_ref().is_err_and(Fault::is_of_the_member) {
            self.leave(at);
            // rare and large: not a part of every call's future
            Box::pin(self.renew(member)).await;
        }
        answer
    }

    /// Makes a new client of a member that failed if the files of TLS are others than before: certificates end and are replaced.
    async fn renew(&self, member: &Member) {
        let mut client = member.client.lock().await;
        if self.dial.mark().is_none_or(|mark| mark == client.1) {
            return;
        }
        match self.dial.client(&member.url).await {
            Ok(made) => {
                *client = made;
                *member.logins.lock().await = 0;
                tracing::info!(member = member.url, "the files of TLS have changed: connecting anew");
            }
            // half a replacement, perhaps: the next failure looks again
            Err(error) => tracing::warn!(member = member.url, %error, "the files of TLS have changed and cannot be used"),
        }
    }

    /// Who is asked first now.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.list.len()
    }

    /// Where a member is.
    pub(super) fn url(&self, at: usize) -> &str {
        self.list.get(at).map_or("etcd", |member| &member.url)
    }

    /// Asks the next member first, unless somebody else has moved on from this one already.
    pub(super) fn leave(&self, at: usize) {
        let _ = self.current.compare_exchange(at, (at + 1) % self.list.len(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The call at a member, with a login before if there was none, and once more after a login if the token is refused.
    async fn at<T, F: Call<T>>(&self, member: &Member, call: &impl Fn(Client) -> F) -> Result<T, Fault> {
        let login = self.log_in(member, None).await?;
        match self.within(member, call).await {
            Err(fault) if fault.meaning == Meaning::Token && self.user.is_some() => {
                self.log_in(member, Some(login)).await?;
                self.within(member, call).await
            }
            answer => answer,
        }
    }

    async fn within<T, F: Call<T>>(&self, member: &Member, call: &impl Fn(Client) -> F) -> Result<T, Fault> {
        let client = member.client.lock().await.0.clone();
        match timeout(self.limit, call(client)).await {
            Ok(answer) => answer.map_err(|error| Fault::of(&member.url, &error)),
            Err(_) => Err(Fault::late(&member.url, self.limit)),
        }
    }

    /// Logs in if nobody has yet, or if the last login is the one that is refused now. Answers with the number of the login.
    async fn log_in(&self, member: &Member, refused: Option<u64>) -> Result<u64, Fault> {
        let Some((name, password)) = &self.user else { return Ok(0) };
        let mut logins = member.logins.lock().await;
        if *logins > 0 && refused.is_none_or(|refused| refused != *logins) {
            return Ok(*logins);
        }
        let user = (name.clone(), password.reveal().clone());
        let log_in = |mut client: Client| {
            let user = user.clone();
            async move { client.update_user(Some(user)).await }
        };
        match self.within(member, &log_in).await {
            Err(fault) if !fault.to_string().contains("authentication is not enabled") => Err(fault),
            _ => {
                *logins += 1;
                Ok(*logins)
            }
        }
    }
}

/// The key-value part of a client, without the small limit of messages.
pub(super) fn kv(client: &Client) -> etcd_client::KvClient {
    client.kv_client().max_decoding_message_size(LARGEST)
}

/// The watching part of a client, likewise.
pub(super) fn watch(client: &Client) -> etcd_client::WatchClient {
    client.watch_client().max_decoding_message_size(LARGEST)
}
