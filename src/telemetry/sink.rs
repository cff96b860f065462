//! The way of the process's log to its sink: a bounded queue, and a thread that writes. Whoever logs never waits; lines that find the
//! queue full, or a sink that refuses them, are dropped and counted. Knows no level and no format.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

use super::queue;

/// Lines that may wait for the writer.
const PLACES: usize = 8192;
/// Bytes that may wait for it.
const BYTES: usize = 4 * 1024 * 1024;

/// Where lines are handed in. Cheap to clone; all clones are one sink.
#[derive(Clone, Debug)]
pub(super) struct Sink(Arc<Open>);

#[derive(Debug)]
struct Open {
    queue: SyncSender<Message>,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Message {
    Line(Box<[u8]>),
    Flush(SyncSender<()>),
}

impl Sink {
    /// Starts the thread that writes to `out`. `dropped` counts lines.
    pub(super) fn start(out: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let (queue, messages) = sync_channel(PLACES);
        let waiting = Arc::<AtomicUsize>::default();
        let (left, lost) = (waiting.clone(), dropped.clone());
        std::thread::Builder::new().name("log".into()).spawn(move || run(out, &messages, &left, &lost))?;
        Ok(Self(Arc::new(Open { queue, waiting, dropped })))
    }

    /// Hands in a line, its end included. Never blocks.
    pub(super) fn submit(&self, line: &[u8]) {
        let Open { queue, waiting, dropped } = &*self.0;
        let has_room = waiting.fetch_add(line.len(), Ordering::AcqRel).saturating_add(line.len()) <= BYTES;
        if !has_room || queue.try_send(Message::Line(line.into())).is_err() {
            waiting.fetch_sub(line.len(), Ordering::AcqRel);
            dropped.inc();
        }
    }

    /// Waits until everything that was handed in is written, at most this long; false if it took longer. Blocks the thread: it is for
    /// the end of the process.
    pub(super) fn flush(&self, within: Duration) -> bool {
        queue::flush(&self.0.queue, Message::Flush, within)
    }
}

fn run(mut out: impl Write, messages: &Receiver<Message>, waiting: &AtomicUsize, dropped: &IntCounter) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    dropped.inc();
                }
                waiting.fetch_sub(line.len(), Ordering::AcqRel);
            }
            // nobody waits any more: nothing to tell
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// The layer that formats lines writes each of them at once.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.submit(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Sink {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// Takes lines once it is open.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Ends>);

    #[derive(Default)]
    struct Ends {
        text: Mutex<Option<String>>,
        opened: Condvar,
    }

    impl Pipe {
        fn open(&self) {
            *self.0.text.lock().unwrap() = Some(String::new());
            self.0.opened.notify_all();
        }

        fn text(&self) -> String {
            self.0.text.lock().unwrap().clone().unwrap_or_default()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut text = self.0.opened.wait_while(self.0.text.lock().unwrap(), |text| text.is_none()).unwrap();
            text.as_mut().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn a_sink_that_takes_nothing_holds_nobody_up_and_costs_what_does_not_fit() {
        let (pipe, dropped) = (Pipe::default(), counter());
        let sink = Sink::start(pipe.clone(), dropped.clone()).unwrap();
        let many = PLACES + 100;
        for n in 0..many {
            sink.submit(format!("{n}\n").as_bytes());
        }
        assert!(!sink.flush(Duration::from_millis(20)));
        // one is on its way into the sink
        assert!((99..=100).contains(&dropped.get()), "{}", dropped.get());
        pipe.open();
        assert!(sink.flush(Duration::from_secs(20)));
        let (kept, text) = (many - usize::try_from(dropped.get()).unwrap(), pipe.text());
        assert!(text.lines().eq((0..kept).map(|n| n.to_string())), "the first ones, in order");
        sink.submit(b"afterwards\n");
        assert!(sink.flush(Duration::from_secs(20)) && pipe.text().ends_with("afterwards\n"));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let (pipe, dropped) = (Pipe::default(), counter());
        let sink = Sink::start(pipe.clone(), dropped.clone()).unwrap();
        let line = vec![b'x'; BYTES / 8];
        for _ in 0..12 {
            sink.submit(&line);
        }
        assert_eq!(dropped.get(), 4);
        pipe.open();
        assert!(sink.flush(Duration::from_secs(20)));
        sink.submit(&line);
        assert!(sink.flush(Duration::from_secs(20)));
        assert_eq!((dropped.get(), pipe.text().len()), (4, 9 * line.len()));
    }

    #[test]
    fn a_sink_that_refuses_costs_the_lines_and_nothing_else() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dropped = counter();
        let sink = Sink::start(Closed, dropped.clone()).unwrap();
        (0..3).for_each(|_| sink.submit(b"x\n"));
        assert!(sink.flush(Duration::from_secs(20)));
        assert_eq!(dropped.get(), 3);
    }
}
