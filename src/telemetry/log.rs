//! The process's own log: text or JSON lines to standard error, at a level that can be changed while it runs. Session records
//! are not log lines; they are in `access`. How lines get there is in `sink`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::Metrics;
use super::sink::Sink;

/// The log of the process, once it has one.
static SINK: OnceLock<Sink> = OnceLock::new();

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, place, message, fields.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The text names no level.
    #[error("{0:?} is not a log level: write off, error, warn, info, debug or trace, or rules such as info,sluice::listen=debug")]
    Level(String),
    /// Someone has set up a log already, or taken it down.
    #[error("the log is not ours to set: {0}")]
    Taken(String),
    /// There is no way to standard error.
    #[error("the log cannot be written: {0}")]
    Sink(String),
}

/// Changes the level of the log. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// From now on only lines that `level` lets through: a level's name, or rules (`info,sluice::listen=debug`).
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(filter(level)?).map_err(|e| LogError::Taken(e.to_string()))
    }

    /// The level now, as rules; empty once the log is gone.
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }
}

/// Makes standard error the log of the process. Works once in a process. Nobody who logs waits for it: what it does not take is
/// dropped and counted.
#[expect(clippy::disallowed_methods, reason = "bound once, here")]
pub fn init(level: &str, format: LogFormat, metrics: &Metrics) -> Result<LogLevel, LogError> {
    // not through the lock of the standard library: whoever panics needs that
    let out = io::stderr().as_fd().try_clone_to_owned().map_err(|e| LogError::Sink(e.to_string()))?;
    let dropped = metrics.log_dropped_total.with_label_values(&["log"]);
    let sink = Sink::start(File::from(out), dropped).map_err(|e| LogError::Sink(e.to_string()))?;
    let (subscriber, handle) = subscriber(level, format, sink.clone())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|e| LogError::Taken(e.to_string()))?;
    let _ = SINK.set(sink);
    Ok(handle)
}

/// Prints text for people, lines with their ends, among the lines of the log.
pub fn print(text: &str) {
    if let Some(sink) = SINK.get() {
        sink.submit(text.as_bytes());
    }
}

/// Waits until everything that was logged is written, at most this long. Blocks the thread: it is for the end of the process.
pub fn flush(within: Duration) {
    if let Some(sink) = SINK.get() {
        sink.flush(within);
    }
}

/// A log of its own that writes to `sink`, for whoever wants to install it by themselves.
pub fn subscriber<W>(level: &str, format: LogFormat, sink: W) -> Result<(impl tracing::Subscriber + Send + Sync, LogLevel), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(sink);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let lines = lines.with_filter(filter_fn(|about| !is_of_a_client(about)));
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogLevel(handle)))
}

/// What a client of HTTP/2 can have written as often as it likes: the library warns of its doings, and the end of the session tells of
/// them too.
fn is_of_a_client(about: &tracing::Metadata<'_>) -> bool {
    *about.level() == tracing::Level::WARN && about.target().starts_with("h2::")
}

/// A bare word must be a level: the rules' own grammar would take `inof` for the name of a module, and show nothing any more.
fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::Level(level.to_owned());
    let level = level.trim();
    let known = |word: &str| word.contains('=') || word.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if level.is_empty() || !level.split(',').all(|word| known(word.trim())) {
        return Err(wrong());
    }
    EnvFilter::builder().parse(level).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }

        fn sink(&self) -> impl for<'w> MakeWriter<'w> + Send + Sync + 'static {
            let lines = self.clone();
            move || lines.clone()
        }
    }

    #[test]
    fn the_level_changes_while_the_log_runs() {
        let lines = Lines::default();
        let (log, level) = subscriber("info", LogFormat::Text, lines.sink()).unwrap();
        tracing::subscriber::with_default(log, || {
            tracing::debug!("one");
            level.set("debug").unwrap();
            tracing::debug!(port = 9100, "two");
            level.set("error").unwrap();
            tracing::info!("three");
        });
        let told = lines.take();
        assert!(!told.contains("one") && !told.contains("three"), "{told}");
        assert!(told.contains("DEBUG") && told.contains("two port=9100"), "{told}");
        assert_eq!(level.set("inof"), Err(LogError::Level("inof".into())));
    }

    #[test]
    fn json_lines_have_their_fields_at_the_top() {
        let lines = Lines::default();
        let (log, _level) = subscriber("info", LogFormat::Json, lines.sink()).unwrap();
        tracing::subscriber::with_default(log, || tracing::info!(port = 9100, "bound"));
        let line: serde_json::Value = serde_json::from_str(&lines.take()).unwrap();
        assert_eq!((&line["message"], &line["port"], &line["level"]), (&"bound".into(), &9100.into(), &"INFO".into()));
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for bad in ["", " ", "inof", "info,dbug", "sluice=loud"] {
            assert_eq!(filter(bad).map(|f| f.to_string()).unwrap_err(), LogError::Level(bad.into()), "{bad:?}");
        }
        for good in ["error", "WARN", " info ", "off", "info,sluice::listen=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
    }
}
