//! The load under which faults happen: sessions that stay and talk all along, and new ones that come and go at a steady rate. Every
//! one of them counts, and none may fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::poll;

/// Sessions that stay.
pub const LIVE: u64 = 200;
/// New sessions a second.
pub const RATE: u32 = 100;

/// How often a session that stays says something.
const SAY: Duration = Duration::from_millis(400);
/// Far more than any exchange takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running load. Ends, unjudged, when it is dropped.
pub struct Load {
    stop: watch::Sender<bool>,
    seen: Arc<Seen>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// Sessions that stay and have talked.
    live: AtomicU64,
    /// Exchanges of sessions that stay.
    said: AtomicU64,
    /// New sessions that were begun.
    begun: AtomicU64,
    /// New sessions that came, talked and went.
    served: AtomicU64,
    failures: AtomicU64,
    /// The first of them.
    first: Mutex<Option<String>>,
}

impl Load {
    /// Starts it through a route to an echo, and waits until all sessions that stay have talked.
    pub fn on(addr: SocketAddr) -> Self {
        sluice::net::limits::raise_descriptors();
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(addr, &shared, stopped));
        });
        let load = Self { stop, seen, began: Instant::now(), thread: Some(thread) };
        poll::until(Duration::from_secs(60), "all sessions of the load talk", || {
            load.assert_unharmed();
            (load.seen.live.load(Ordering::Acquire) == LIVE).then_some(())
        });
        load
    }

    /// Nobody has failed until now.
    pub fn assert_unharmed(&self) {
        let failures = self.seen.failures.load(Ordering::Acquire);
        let first = self.seen.first.lock().unwrap().clone();
        assert_eq!(failures, 0, "clients failed, the first: {first:?}");
    }

    /// Waits until everybody has talked once more, ends them all, and asserts that none failed and that there were as many as meant.
    pub fn end(mut self, what: &str) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let (said, served) = (count(&self.seen.said), count(&self.seen.served));
        poll::soon("the load goes on", || {
            self.assert_unharmed();
            count(&self.seen.said) > said + 2 * LIVE && count(&self.seen.served) > served + u64::from(RATE)
        });
        let lasted = self.began.elapsed();
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap();
        self.assert_unharmed();
        let (said, begun, served) = (count(&self.seen.said), count(&self.seen.begun), count(&self.seen.served));
        eprintln!("{what}: {LIVE} sessions stayed {lasted:.1?} and talked {said} times, {served} came and went, 0 failed");
        assert_eq!(begun, served, "each was served");
        let meant = u64::from(RATE) * lasted.as_secs();
        assert!(served + u64::from(RATE) >= meant, "{served} sessions in {lasted:?} are fewer than {RATE} a second");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // a panic of it was told already
            let _ = thread.join();
        }
    }
}

impl Seen {
    fn failed(&self, what: &str, error: &std::io::Error) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.first.lock().unwrap().get_or_insert_with(|| format!("{what}: {error}"));
    }
}

async fn run(addr: SocketAddr, seen: &Arc<Seen>, mut stopped: watch::Receiver<bool>) {
    let mut sessions = tokio::task::JoinSet::new();
    for n in 0..LIVE {
        sessions.spawn(stay(addr, n, seen.clone(), stopped.clone()));
    }
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let seen = seen.clone();
                let n = seen.begun.fetch_add(1, Ordering::AcqRel);
                sessions.spawn(async move {
                    match pass(addr, n).await {
                        Ok(()) => { seen.served.fetch_add(1, Ordering::AcqRel); }
                        Err(error) => seen.failed("a new session", &error),
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    while sessions.join_next().await.is_some() {}
}

/// Connects, talks until the end, and goes.
async fn stay(addr: SocketAddr, n: u64, seen: Arc<Seen>, mut stopped: watch::Receiver<bool>) {
    let talk = async {
        let mut stream = connect(addr).await?;
        let mut is_first = true;
        loop {
            say(&mut stream, n).await?;
            seen.said.fetch_add(1, Ordering::AcqRel);
            if std::mem::take(&mut is_first) {
                seen.live.fetch_add(1, Ordering::AcqRel);
            }
            // the end comes between two exchanges
            if timeout(SAY, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return leave(stream).await;
            }
        }
    };
    if let Err(error) = talk.await {
        seen.failed("a session that stays", &error);
    }
}

/// Connects, talks once, and goes.
async fn pass(addr: SocketAddr, n: u64) -> std::io::Result<()> {
    let mut stream = connect(addr).await?;
    say(&mut stream, n).await?;
    leave(stream).await
}

async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect(addr)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn say(stream: &mut TcpStream, n: u64) -> std::io::Result<()> {
    let (words, mut back) = (n.to_be_bytes(), [0; 8]);
    timeout(PATIENCE, async {
        stream.write_all(&words).await?;
        stream.read_exact(&mut back).await
    })
    .await??;
    if back == words { Ok(()) } else { Err(std::io::Error::other("the echo is not what was sent")) }
}

/// Sends FIN, and the echo's FIN comes back.
async fn leave(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    match timeout(PATIENCE, stream.read(&mut [0])).await?? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("bytes that nobody sent")),
    }
}

mod tests {
    use super::super::upstream as servers;
    use super::*;

    #[test]
    fn a_load_without_a_fault_counts_every_session() {
        let echo = servers::echo();
        let load = Load::on(echo.addr);
        load.end("no gateway between");
        assert!(echo.connections() > LIVE + u64::from(RATE));
    }

    #[test]
    #[should_panic(expected = "clients failed")]
    fn a_session_that_is_not_served_is_a_failure() {
        let silent = servers::resets(b"");
        let _ = Load::on(silent.addr);
    }
}
