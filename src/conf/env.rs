//! The environment's part in the configuration: `${{VAR}}` in keys and values, and one variable per key. Never reads the
//! process's environment itself, except in [`load_from_process`](super::load_from_process)'s closure.

use super::error::{Fault, Place};
use super::tree::{Body, Name, Node, parse};

/// Every override starts with this.
pub(super) const PREFIX: &str = "SLUICE_";

/// Looks a variable up.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variable that stands for a key: `gateway.workers` is `SLUICE_GATEWAY__WORKERS`. Items of lists have none.
pub(super) fn variable(path: &str) -> Option<String> {
    (!path.contains('[')).then(|| format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase()))
}

/// The value that the environment gives a key, if it does. Lists and maps are written as YAML: `[9100, 9101]`. An empty
/// variable counts as unset.
pub(super) fn value(env: Env<'_>, path: &str) -> Result<Option<Node>, Fault> {
    let Some(name) = variable(path) else { return Ok(None) };
    let Some(text) = env(&name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let place = Place::Variable(name);
    if !text.starts_with(['[', '{']) {
        return Ok(Some(Node::plain(place, &text)));
    }
    let mut node = parse(&text).map_err(|fault| Fault::new(place.clone(), fault.text))?;
    put(&mut node, &place);
    Ok(Some(node))
}

fn put(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.body {
        Body::Null | Body::Scalar(..) => {}
        Body::List(items) => items.iter_mut().for_each(|item| put(item, place)),
        Body::Map(entries) => {
            for (name, value) in entries {
                name.place = place.clone();
                put(value, place);
            }
        }
    }
}

/// Replaces `${{VAR}}` and `${{VAR:=default}}` in every key and value. A value that was replaced is a number or a boolean when it
/// looks like one, even if it was quoted.
pub(super) fn substitute(node: &mut Node, env: Env<'_>) -> Result<(), Fault> {
    match &mut node.body {
        Body::Null => {}
        Body::Scalar(text, _) => {
            if let Some(new) = expand(text, env).map_err(|text| Fault::new(node.place.clone(), text))? {
                *node = Node::plain(node.place.clone(), &new);
            }
        }
        Body::List(items) => items.iter_mut().try_for_each(|item| substitute(item, env))?,
        Body::Map(entries) => {
            for (name, value) in entries.iter_mut() {
                if let Some(new) = expand(&name.text, env).map_err(|text| Fault::new(name.place.clone(), text))? {
                    name.text = new;
                }
                substitute(value, env)?;
            }
            unique(entries)?;
        }
    }
    Ok(())
}

/// Two keys may have become one.
fn unique(entries: &[(Name, Node)]) -> Result<(), Fault> {
    let mut seen = std::collections::BTreeSet::new();
    match entries.iter().find(|(name, _)| !seen.insert(name.text.as_str())) {
        Some((name, _)) => Err(Fault::new(name.place.clone(), format!("key `{}` stands here for the second time", name.text)).veiled()),
        None => Ok(()),
    }
}

/// The text with its variables replaced; `None` when it has none.
fn expand(text: &str, env: Env<'_>) -> Result<Option<String>, String> {
    if !text.contains("${{") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("${{") {
        let (inside, after) = tail.split_once("}}").ok_or("`${{` without its `}}`")?;
        let (name, default) = match inside.split_once(":=") {
            Some((name, default)) => (name.trim(), Some(default.trim())),
            None => (inside.trim(), None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("`${{…}}` holds no name of an environment variable".to_owned());
        }
        out.push_str(before);
        match (env(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(format!("can't find environment variable {name}")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("9100".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLUICE_GATEWAY__STREAM_PROXY__TCP" => Some("[9100, \"127.0.0.1:9101\"]".to_owned()),
            "SLUICE_GATEWAY__WORKERS" => Some("2".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_and_defaults_stand_in() {
        for (text, becomes) in [
            ("${{PORT}}", "9100"),
            ("${{ PORT }}", "9100"),
            ("${{PORT:=1}}", "9100"),
            ("${{NONE:=1}}", "1"),
            ("${{NONE:=}}", ""),
            ("${{EMPTY:=1}}", ""),
            ("127.0.0.1:${{PORT}}/${{NONE:=x:=y}}", "127.0.0.1:9100/x:=y"),
        ] {
            assert_eq!(expand(text, &env), Ok(Some(becomes.to_owned())), "{text}");
        }
        assert_eq!(expand("$PORT {{x}} ${PORT}", &env), Ok(None));
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        for (text, says) in [
            ("${{NONE}}", "can't find environment variable NONE"),
            ("${{PORT", "`${{` without its `}}`"),
            ("${{a b}}", "`${{…}}` holds no name of an environment variable"),
        ] {
            assert_eq!(expand(text, &env).unwrap_err(), says, "{text}");
        }
    }

    #[test]
    fn an_override_is_a_scalar_or_yaml() {
        let workers = value(&env, "gateway.workers").unwrap().unwrap();
        assert!(matches!(&workers.body, Body::Scalar(_, super::super::tree::Sense::Whole(2))));
        let tcp = value(&env, "gateway.stream_proxy.tcp").unwrap().unwrap();
        assert!(matches!(&tcp.body, Body::List(items) if items.len() == 2));
        assert!(value(&env, "gateway.proxy_mode").unwrap().is_none());
        assert_eq!(variable("deployment.admin.admin_key[0].key"), None);
    }
}
