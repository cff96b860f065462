//! The command line: reads arguments, calls what the roof passed in, turns the answer into an exit code. Does no work itself.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::base::id::Kind;
use crate::conf::{self, Conf, ConfError};
use crate::import::{self, Imported};

/// All is well.
const OK: u8 = 0;
/// The configuration is invalid, or the gateway could not do its work.
const INVALID: u8 = 1;
/// The arguments make no sense.
const USAGE: u8 = 2;
/// Something of a foreign configuration was not carried over.
const INCOMPLETE: u8 = 3;

/// What the commands do, passed in by `main`.
#[derive(Clone, Copy)]
pub struct Acts {
    /// Serves until the process is told to stop.
    pub run: fn(Conf) -> anyhow::Result<()>,
    /// What would be refused of the file's own listeners; empty: nothing.
    pub refusals: fn(&Conf) -> Vec<String>,
    /// The JSON Schema of a kind.
    pub schema: fn(Kind) -> anyhow::Result<Value>,
    /// The text for a store of a private key.
    pub seal: fn(&Conf, &str) -> anyhow::Result<String>,
}

/// A gateway that is reconfigured while it runs.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok, 1 invalid or failed, 2 usage, 3 imported in part."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Run {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Read the configuration file and say what is wrong with it
    Check {
        #[command(flatten)]
        config: ConfigArg,
        /// How to answer
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print the JSON Schema of a kind of resource
    Schema {
        /// One kind; its plural is understood
        #[arg(value_parser = kind, value_name = "listener|stream_route|route|upstream|ssl|setting")]
        kind: Kind,
    },
    /// Read the configuration of another gateway and print resources for `POST apply`
    Import {
        #[command(subcommand)]
        from: Foreign,
    },
    /// Seal a private key for pasting into an object
    ///
    /// Reads a key in PEM, or one that another key of the keyring sealed, and prints the text to put in its place.
    Seal {
        #[command(flatten)]
        config: ConfigArg,
        /// The file of the key; standard input if it is absent or -
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
enum Foreign {
    /// The appsettings.json of a `VKProxy`; notes go to stderr
    Vkproxy {
        /// The file; certificates that it names are read beside it
        file: PathBuf,
        /// Print nothing and fail if something cannot be carried over
        #[arg(long)]
        strict: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration file
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = conf::DEFAULT_PATH)]
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = Kind::ALL.map(Kind::singular);
    Kind::ALL
        .into_iter()
        .find(|kind| kind.singular() == text || kind.dir() == text)
        .ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

/// Does what the arguments say; the first one is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>, acts: Acts) -> ExitCode {
    ExitCode::from(dispatch(args, acts, &mut std::io::stdout(), &mut std::io::stderr()))
}

/// [`main`] with its outputs passed in. Answers with the exit code.
pub fn dispatch(args: impl IntoIterator<Item = OsString>, acts: Acts, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match Args::try_parse_from(args) {
        Ok(args) => command(args.command, acts, out, err),
        Err(wrong) => {
            let text = wrong.render().to_string();
            if wrong.use_stderr() {
                say(err, text.trim_end());
            } else {
                say(out, text.trim_end());
            }
            u8::try_from(wrong.exit_code()).unwrap_or(USAGE)
        }
    }
}

fn command(command: Command, acts: Acts, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match command {
        Command::Run { config } => match conf::load_from_process(&config.path) {
            Ok(conf) => (acts.run)(conf),
            Err(error) => Err(error.into()),
        },
        Command::Check { config, format } => return check(conf::load_from_process(&config.path), acts, format, out),
        Command::Schema { kind } => (acts.schema)(kind).map(|schema| say(out, &format!("{schema:#}"))),
        Command::Import { from: Foreign::Vkproxy { file, strict } } => match vkproxy(&file) {
            Ok(imported) => return tell(&imported, strict, out, err),
            Err(error) => Err(error),
        },
        Command::Seal { config, file } => seal(&config.path, &file, acts, out),
        Command::Version => {
            say(out, concat!("sluice ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    };
    match done {
        Ok(()) => OK,
        Err(error) => {
            say(err, &format!("error: {error:#}"));
            INVALID
        }
    }
}

fn check(read: Result<Conf, ConfError>, acts: Acts, format: Format, out: &mut dyn Write) -> u8 {
    let (notices, listeners, errors) = match read {
        Ok(conf) => {
            let errors = (acts.refusals)(&conf).into_iter().map(|message| json!({ "message": message }));
            let (errors, listeners) = (errors.collect(), conf.listeners.len());
            (conf.notices, listeners, errors)
        }
        Err(error) => {
            if matches!(format, Format::Text) {
                say(out, &error.to_string());
                return INVALID;
            }
            (Vec::new(), 0, vec![json!({ "file": error.file, "line": error.line(), "message": error.message })])
        }
    };
    let valid = errors.is_empty();
    match format {
        Format::Json => {
            say(out, &json!({ "valid": valid, "listeners": listeners, "notices": notices, "errors": errors }).to_string());
        }
        Format::Text => {
            for notice in &notices {
                say(out, &format!("notice: {notice}"));
            }
            for message in errors.iter().filter_map(|error| error.get("message")?.as_str()) {
                say(out, &format!("refused: {message}"));
            }
            if valid {
                say(out, &format!("ok: {listeners} listeners"));
            }
        }
    }
    if valid { OK } else { INVALID }
}

/// Relative paths in a configuration are beside it.
fn vkproxy(file: &Path) -> anyhow::Result<Imported> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let beside = |path: &Path| std::fs::read_to_string(file.parent().unwrap_or(Path::new("")).join(path));
    import::vkproxy(&text, &beside).with_context(|| file.display().to_string())
}

fn tell(imported: &Imported, strict: bool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    for note in &imported.notes {
        say(err, &note.to_string());
    }
    match (imported.has_losses(), strict) {
        (true, true) => return INVALID,
        (_, _) => say(out, &format!("{:#}", imported.document)),
    }
    if imported.has_losses() { INCOMPLETE } else { OK }
}

fn seal(config: &Path, file: &Path, acts: Acts, out: &mut dyn Write) -> anyhow::Result<()> {
    let conf = conf::load_from_process(config)?;
    let text = if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = Zeroizing::new(text.with_context(|| format!("reading {}", file.display()))?);
    say(out, &(acts.seal)(&conf, &text)?);
    Ok(())
}

/// Writes a line; a reader that went away is no error of ours.
fn say(to: &mut dyn Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
