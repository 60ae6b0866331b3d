//! Writes a tree as nested JSON without recursion: a chart may be too deep for a worker's stack.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    domain::EmployeeId,
    error::{Error, Result},
};

/// The tree below the person without a manager, each person with their reports; `null` if there is
/// none.
///
/// # Errors
/// [`Error::Internal`] if a person does not serialize as an object.
pub(in crate::web::rest) fn nested<T: Serialize>(
    people: impl Iterator<Item = (Option<EmployeeId>, (EmployeeId, T))>,
) -> Result<String> {
    let mut reports: HashMap<Option<EmployeeId>, Vec<(EmployeeId, T)>> = HashMap::new();
    for (manager, person) in people {
        reports.entry(manager).or_default().push(person);
    }
    let mut json = String::new();
    // The teams being written, each with its remaining people.
    let mut open = vec![reports.remove(&None).unwrap_or_default().into_iter()];
    while let Some(team) = open.last_mut() {
        if let Some((id, person)) = team.next() {
            if json.ends_with('}') {
                json.push(',');
            }
            let object = serde_json::to_string(&person).unwrap_or_default();
            let fields = object.strip_suffix('}');
            let fields = fields.ok_or_else(|| Error::Internal("a person is no object".into()))?;
            json.push_str(fields);
            json.push_str(",\"reports\":[");
            open.push(reports.remove(&Some(id)).unwrap_or_default().into_iter());
        } else {
            open.pop();
            if !open.is_empty() {
                json.push_str("]}");
            }
        }
    }
    Ok(if json.is_empty() { "null".to_owned() } else { json })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tree(people: &[(i64, Option<i64>)]) -> String {
        let people = people.iter().map(|(id, manager)| {
            (manager.map(EmployeeId::from), (EmployeeId::from(*id), json!({ "id": id })))
        });
        nested(people).unwrap()
    }

    #[test]
    fn reports_are_nested_in_their_manager() {
        let text = tree(&[(1, None), (2, Some(1)), (3, Some(1)), (4, Some(2))]);
        let expected = json!({ "id": 1, "reports": [
            { "id": 2, "reports": [{ "id": 4, "reports": [] }] },
            { "id": 3, "reports": [] },
        ] });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert_eq!(tree(&[]), "null");
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let chain: Vec<_> = (1..=100_000).map(|n| (n, (n > 1).then(|| n - 1))).collect();
        let deep = std::thread::Builder::new().stack_size(128 * 1024);
        let text = deep.spawn(move || tree(&chain)).unwrap().join().unwrap();
        assert_eq!(text.matches("\"id\"").count(), 100_000);
        assert_eq!(text.matches('[').count(), text.matches(']').count());
    }
}
