//! The gateways that share the store and live, for the control API.

use serde_json::{Value, json};

use super::envelope::Answer;
use crate::live::fleet::{Fleet, Member};

/// All of them with what they tell of themselves, and this one's place among them.
pub(super) fn list(fleet: &Fleet) -> Answer {
    let members = fleet.members();
    Answer::ok(&json!({
        "name": fleet.name(),
        "count": fleet.count(),
        "rank": fleet.rank(),
        "instances": members.iter().map(instance).collect::<Vec<_>>(),
    }))
}

fn instance(member: &Member) -> Value {
    let mut shown = json!({ "id": &*member.id, "own": member.own });
    if let (Some(shown), Some(told)) = (shown.as_object_mut(), member.document.as_object()) {
        shown.extend(told.iter().filter(|(name, _)| *name != "run").map(|(name, value)| (name.clone(), value.clone())));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::fleet::fleet;
    use std::sync::Arc;

    #[test]
    fn instances_are_shown_with_what_they_tell() {
        let (writer, reads) = fleet("b");
        assert_eq!(list(&reads).parts().1, json!({ "name": "b", "count": 1, "rank": 0, "instances": [] }));
        let told = |version: &str| Arc::new(json!({ "run": "0", "version": version }));
        let member = |id: &str, own| Member { id: id.into(), own, applied: None, document: told("1") };
        writer.set(vec![member("b", true), member("a", false)]);
        let shown = json!({ "name": "b", "count": 2, "rank": 1, "instances": [
            { "id": "a", "own": false, "version": "1" }, { "id": "b", "own": true, "version": "1" }
        ] });
        assert_eq!(list(&reads).parts(), (200, shown));
    }
}
