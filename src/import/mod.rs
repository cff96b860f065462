//! From the configuration of another gateway to resources: what is carried over, and a note for each thing that is not. Reads no
//! file by itself, asks no store, and never decides whether a build serves what it writes.

mod address;
mod cluster;
mod document;
mod file;
mod json;
mod limit;
mod listen;
mod match_part;
mod note;
mod options;
mod part;
mod pem;
mod put;
mod route;
mod sni;
mod stream;
#[cfg(test)]
mod tests;
mod transform;

use std::io;
use std::path::Path;

use serde_json::Value;

use document::Document;
use note::Notes;

pub use cluster::BALANCERS;
pub use note::{Note, Sort};

/// How the files that a configuration names are read.
pub type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

/// What became of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The body of `POST apply`: `{"put": {<kind>: [<object>…]…}}`. It holds private keys where the configuration has them.
    pub document: Value,
    /// What was not carried over, and what means something else here; in the order in which it was found.
    pub notes: Vec<Note>,
}

impl Imported {
    /// Whether something was left out.
    pub fn has_losses(&self) -> bool {
        self.notes.iter().any(|note| note.sort == Sort::Lost)
    }
}

/// Text that is no configuration of `VKProxy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is not JSON, even with comments and trailing commas, or has a key twice.
    #[error("not JSON: {0}")]
    Json(String),
    /// Nothing in it belongs to the proxy.
    #[error("no section ReverseProxy, and no Listen, Routes, Clusters or Sni at the top")]
    NoProxy,
}

/// Reads an `appsettings.json` of `VKProxy` (<https://github.com/fs7744/VKProxy>). `read_file` is asked for the certificates that it
/// names, with the paths as they stand there.
///
/// # Errors
/// The text is no such file. What is wrong with single objects is a note.
pub fn vkproxy(text: &str, read_file: ReadFile<'_>) -> Result<Imported, ImportError> {
    let tree = json::parse(text)?;
    let mut notes = Notes::default();
    let file = file::File::find(&tree, &mut notes)?;
    let document = Document::of(&file, read_file, &mut notes);
    Ok(Imported { document, notes: notes.into_vec() })
}
