//! The access log and the thread that writes it. Never blocks whoever ends a session: a sink that does not keep up loses lines, and
//! they are counted. What a line says is not decided here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use prometheus::IntCounter;

use super::families::Metrics;
use super::line::{AccessFormat, Record};
use super::queue;

/// Records that may wait for the writer.
const QUEUE: usize = 8192;
/// Bytes gathered before a write, while more records wait.
const GATHER: usize = 64 * 1024;

/// What is written where.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConf {
    /// How a line looks.
    pub format: AccessFormat,
    /// The file, appended to; standard output when absent.
    pub path: Option<PathBuf>,
    /// The share of sessions that are written, 0 to 1.
    pub sample: f64,
    /// The name of this process in each line.
    pub instance: Arc<str>,
}

/// The access log. Cheap to clone; all clones are one log. The writer ends with the last of them.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    queue: SyncSender<Message>,
    dropped: IntCounter,
    sample: f64,
    asked: AtomicU64,
    /// The file is to be opened again; `None`: there is no file.
    reopen: Option<Arc<AtomicBool>>,
}

enum Message {
    Line(Box<Record>),
    Flush(SyncSender<()>),
    /// Look around: something was asked beside the queue, which may have been full.
    Wake,
}

impl AccessLog {
    /// A log that wants nothing.
    pub fn disabled() -> Self {
        Self(None)
    }

    /// Opens the sink and starts the writer's thread.
    pub fn start(conf: &AccessConf, metrics: &Metrics) -> io::Result<Self> {
        let sink: Box<dyn Write + Send> = match &conf.path {
            Some(path) => Box::new(open(path)?),
            None => Box::new(io::stdout()),
        };
        Self::to(sink, conf, metrics, QUEUE)
    }

    #[expect(clippy::disallowed_methods, reason = "bound once, here")]
    fn to(sink: Box<dyn Write + Send>, conf: &AccessConf, metrics: &Metrics, places: usize) -> io::Result<Self> {
        let dropped = metrics.log_dropped_total.with_label_values(&["access"]);
        let (queue, records) = sync_channel(places);
        let writer = Writer {
            sink,
            format: conf.format,
            instance: conf.instance.clone(),
            dropped: dropped.clone(),
            buffer: Vec::with_capacity(GATHER),
            lines: 0,
            failing: false,
            file: conf.path.clone().map(|path| (path, Arc::default())),
        };
        let reopen = writer.file.as_ref().map(|(_, asked)| asked.clone());
        std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&records))?;
        Ok(Self(Some(Arc::new(Open { queue, dropped, sample: conf.sample, asked: AtomicU64::new(0), reopen }))))
    }

    /// Whether a record of this session would be written. Ask once a session: the answer is a matter of the sample.
    pub fn wants(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.sampled())
    }

    /// Hands a record to the writer. Never blocks; a record that finds the queue full is dropped and counted.
    pub fn submit(&self, record: Record) {
        if let Some(open) = &self.0
            && open.queue.try_send(Message::Line(Box::new(record))).is_err()
        {
            open.dropped.inc();
        }
    }

    /// Has the file opened again under its name, before the next line: somebody may have renamed it. False if there is no file. Never
    /// blocks; a file that cannot be opened is told in the log, and the one from before is written on.
    pub fn reopen(&self) -> bool {
        let Some((open, reopen)) = self.0.as_ref().and_then(|open| Some((open, open.reopen.as_ref()?))) else { return false };
        reopen.store(true, Ordering::Release);
        // a queue that is full means that the writer will look soon
        let _ = open.queue.try_send(Message::Wake);
        true
    }

    /// Waits until everything submitted so far is written, at most this long; false if it took longer. Blocks the thread: it is
    /// for the end of the process.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.as_ref().is_none_or(|open| queue::flush(&open.queue, Message::Flush, within))
    }
}

impl Open {
    fn sampled(&self) -> bool {
        if self.sample >= 1.0 {
            return true;
        }
        // multiples of the golden ratio, modulo one, fill the unit evenly: the share is right over any run of sessions
        let turn = self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        f64::from(u32::try_from(turn >> 32).unwrap_or(u32::MAX)) < self.sample * f64::from(u32::MAX)
    }
}

/// The writer's side: formats, gathers while more is waiting, writes.
struct Writer {
    sink: Box<dyn Write + Send>,
    format: AccessFormat,
    instance: Arc<str>,
    dropped: IntCounter,
    buffer: Vec<u8>,
    lines: u64,
    failing: bool,
    /// Where the file is, and whether it is to be opened again.
    file: Option<(PathBuf, Arc<AtomicBool>)>,
}

impl Writer {
    fn run(mut self, records: &Receiver<Message>) {
        while let Ok(first) = records.recv() {
            self.take(first);
            while let Ok(next) = records.try_recv() {
                self.take(next);
            }
            self.write();
        }
    }

    fn take(&mut self, message: Message) {
        self.look();
        match message {
            Message::Wake => {}
            Message::Line(record) => {
                self.format.write(&mut self.buffer, &record, &self.instance);
                self.lines += 1;
                if self.buffer.len() >= GATHER {
                    self.write();
                }
            }
            Message::Flush(done) => {
                self.write();
                // nobody waits any more: nothing to tell
                let _ = done.try_send(());
            }
        }
    }

    /// Opens the file again if that was asked. Lines from before go to the file from before.
    fn look(&mut self) {
        let Some((path, asked)) = &self.file else { return };
        if !asked.swap(false, Ordering::AcqRel) {
            return;
        }
        match open(path) {
            Ok(file) => {
                self.write();
                self.sink = Box::new(file);
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "access log cannot be opened again; the file from before is written on");
            }
        }
    }

    fn write(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.sink.write_all(&self.buffer).and_then(|()| self.sink.flush()) {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("access log is written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped.inc_by(self.lines);
                if !self.failing {
                    self.failing = true;
                    tracing::error!(%error, "access log cannot be written");
                }
            }
        }
        self.buffer.clear();
        self.lines = 0;
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::line::fixture::record;
    use std::sync::Mutex;

    fn conf(format: AccessFormat, sample: f64) -> AccessConf {
        AccessConf { format, path: None, sample, instance: "a".into() }
    }

    fn dropped(metrics: &Metrics) -> u64 {
        metrics.log_dropped_total.get_metric_with_label_values(&["access"]).unwrap().get()
    }

    /// Keeps what is written; each write waits for a permission, if there is someone to give it.
    #[derive(Clone, Default)]
    struct Sink {
        bytes: Arc<Mutex<Vec<u8>>>,
        entered: Option<SyncSender<()>>,
        allowed: Option<Arc<Mutex<Receiver<()>>>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let (Some(entered), Some(allowed)) = (&self.entered, &self.allowed) {
                let _ = entered.send(());
                let _ = allowed.lock().unwrap().recv();
            }
            self.bytes.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_sink_drops_lines_and_counts_them_and_never_blocks_the_session() {
        let metrics = Metrics::new().unwrap();
        let (entered, is_in) = sync_channel(8);
        let (allow, allowed) = sync_channel(8);
        let sink = Sink { entered: Some(entered), allowed: Some(Arc::new(Mutex::new(allowed))), ..Sink::default() };
        let log = AccessLog::to(Box::new(sink.clone()), &conf(AccessFormat::Json, 1.0), &metrics, 2).unwrap();
        log.submit(record(1));
        is_in.recv().unwrap();
        for id in 2..=10 {
            log.submit(record(id));
        }
        assert_eq!(dropped(&metrics), 7);
        drop(allow);
        assert!(log.flush(Duration::from_secs(60)));
        assert_eq!(String::from_utf8(sink.bytes.lock().unwrap().clone()).unwrap().lines().count(), 3);
    }

    #[test]
    fn lines_that_the_sink_refuses_are_counted_too() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let metrics = Metrics::new().unwrap();
        let log = AccessLog::to(Box::new(Full), &conf(AccessFormat::Logfmt, 1.0), &metrics, 8).unwrap();
        log.submit(record(1));
        assert!(log.flush(Duration::from_secs(60)));
        assert_eq!(dropped(&metrics), 1);
    }

    #[test]
    fn a_file_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let metrics = Metrics::new().unwrap();
        let log = AccessLog::start(&AccessConf { path: Some(path.clone()), ..conf(AccessFormat::Logfmt, 1.0) }, &metrics).unwrap();
        log.submit(record(1));
        assert!(log.flush(Duration::from_secs(60)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\nts=2009-02-13T23:31:30.123Z session_id=1 "), "{text}");
    }

    #[test]
    fn the_sample_is_the_share_of_sessions_that_are_wanted() {
        let metrics = Metrics::new().unwrap();
        for (sample, least, most) in [(0.0, 0, 0), (0.25, 245, 255), (1.0, 1000, 1000)] {
            let log = AccessLog::to(Box::new(io::sink()), &conf(AccessFormat::Json, sample), &metrics, 1).unwrap();
            let wanted = (0..1000).filter(|_| log.wants()).count();
            assert!((least..=most).contains(&wanted), "{sample}: {wanted}");
        }
        let off = AccessLog::disabled();
        assert!(!off.wants() && off.flush(Duration::ZERO));
        off.submit(record(1));
    }
}
