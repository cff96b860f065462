//! `settings/global`. Never reads another setting: there is none.

use super::fields::{Fields, Found, Least};
use super::limit;
use crate::model::{Global, RouteLimit};

/// The only id of its kind.
pub(super) const GLOBAL: &str = "global";

pub(super) fn read(fields: &Fields<'_>, found: &mut Found) -> Global {
    if !fields.enabled() {
        found.add("/status", "unsupported", "this build does not serve a disabled setting yet; delete it instead");
    }
    let standard = Global::default();
    Global {
        default_timeout: fields.duration("default_timeout", Least::AboveZero, found).unwrap_or(standard.default_timeout),
        connect_timeout: fields.duration("connect_timeout", Least::AboveZero, found).unwrap_or(standard.connect_timeout),
        max_body_size: fields.number("max_body_size", found).unwrap_or(standard.max_body_size),
        limit: match limit::read(fields, found) {
            RouteLimit::Own(limit) => Some(limit),
            RouteLimit::Global | RouteLimit::Exempt => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    #[test]
    fn what_is_not_given_is_the_default() {
        let Resource::Global(global) = accepted(Kind::Setting, &json!({"default_timeout": "00:01:00", "max_body_size": 7})) else {
            panic!()
        };
        assert_eq!(global.default_timeout, Duration::from_secs(60));
        assert_eq!(global.connect_timeout, Global::default().connect_timeout);
        assert_eq!(global.max_body_size, 7);
    }

    #[test]
    fn a_wrong_time_is_refused() {
        let (path, rule, _) = meaningless(Kind::Setting, &json!({"connect_timeout": "fast"}));
        assert_eq!((path.as_str(), rule.as_str()), ("/connect_timeout", "duration"));
        assert_eq!(meaningless(Kind::Setting, &json!({"status": 0})).1, "unsupported");
    }
}
