//! Values that never reach a log line, a dump or an error text.

use std::fmt;

/// Stands for what is not shown.
pub const STARS: &str = "***";

/// Whether text holds a private key in PEM (RFC 7468, 10 and 11), whole or in part.
pub fn betrays(text: &str) -> bool {
    text.contains("PRIVATE KEY")
}

/// A value without `Display`, whose `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}
