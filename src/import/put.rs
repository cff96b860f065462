//! Writing a field of a resource. Knows no resource.

use serde_json::Value;

/// A JSON object in the making.
pub(super) trait Put {
    /// Sets a field; of what is no object there is none.
    fn put(&mut self, name: &str, value: impl Into<Value>);
}

impl Put for Value {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        if let Self::Object(fields) = self {
            fields.insert(name.to_owned(), value.into());
        }
    }
}
