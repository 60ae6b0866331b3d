//! Checks a list of people to import: returns everyone's place in the chart, or every wrong line.

use std::collections::HashMap;

use super::MAX_DEPTH;
use crate::domain::{EmployeeId, Label, QUOTED, quote};

/// One line of a list, as read.
#[derive(Clone, Debug)]
pub struct EmployeeLine {
    /// The line number, counted from 1.
    pub line: u64,
    /// The person's id, if the list has ids.
    pub id: Option<String>,
    /// The key that other lines refer to; the name if the list has no keys.
    pub key: String,
    /// The person's name.
    pub name: String,
    /// The person's title.
    pub title: String,
    /// The manager's id or key; empty for the CEO.
    pub manager: String,
}

/// How lines name their managers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManagedBy {
    /// By id.
    Id,
    /// By key, or by name.
    Key,
}

/// A person with a place in the chart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The person's id.
    pub id: EmployeeId,
    /// The name.
    pub name: Label,
    /// The title.
    pub title: Label,
    /// Every manager above the person, from the CEO down to the direct manager.
    pub ancestors: Vec<EmployeeId>,
}

/// A wrong line and the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineError {
    /// The line.
    pub line: u64,
    /// What is wrong, as a sentence without its subject.
    pub message: String,
}

/// The first errors of a list, and the number of further ones.
#[derive(Debug, Default)]
pub struct LineErrors {
    /// The errors listed, in line order.
    pub listed: Vec<LineError>,
    /// How many more there are.
    pub more: usize,
}

/// The maximum number of errors listed.
const MAX_LISTED: usize = 100;
/// Half of the integers that every JSON parser reads exactly (RFC 8259, section 6). People added
/// later get the next ids, which must be such integers, too.
const MAX_ID: i64 = (1 << 52) - 1;
/// The most ancestors that all people of one list may have in total. This bounds the memory used.
const MAX_ANCESTORS: usize = 10_000_000;

struct Draft<'l> {
    line: &'l EmployeeLine,
    id: EmployeeId,
    name: Label,
    title: Label,
}

/// Gives everyone a place, in the order of the list. If the list has no ids, a line's position is
/// its id.
///
/// # Errors
/// Every wrong line: invalid names and ids, duplicate ids, managers who are missing or ambiguous, a
/// second person without a manager, and cycles with their members.
pub fn place(lines: &[EmployeeLine], managed_by: ManagedBy) -> Result<Vec<Placed>, LineErrors> {
    let mut errors = LineErrors::default();
    let drafts = draft(lines, &mut errors);
    let managers = managers(&drafts, managed_by, &mut errors);
    if !errors.listed.is_empty() {
        return Err(errors.in_order());
    }
    let order = top_down(&managers);
    if order.len() < drafts.len() {
        return Err(cycles(&drafts, &managers, &order));
    }
    let mut above: Vec<Vec<EmployeeId>> = vec![Vec::new(); drafts.len()];
    let mut total = 0;
    for &person in &order {
        if let Some(manager) = managers[person] {
            total += above[manager].len() + 1;
            if above[manager].len() >= MAX_DEPTH || total > MAX_ANCESTORS {
                let depth = above[manager].len() + 1;
                let message = format!("is {depth} levels below the CEO, too deep for this chart");
                let listed = vec![LineError { line: drafts[person].line.line, message }];
                return Err(LineErrors { listed, more: 0 });
            }
            let mut ancestors = above[manager].clone();
            ancestors.push(drafts[manager].id);
            above[person] = ancestors;
        }
    }
    let places = drafts.into_iter().zip(above);
    Ok(places
        .map(|(d, ancestors)| Placed { id: d.id, name: d.name, title: d.title, ancestors })
        .collect())
}

impl LineErrors {
    /// Adds an error; its message is built only if it is kept. Each pass over the lines adds
    /// errors, so more than the maximum are kept until all are sorted.
    fn push(&mut self, kept: usize, line: u64, message: impl FnOnce() -> String) {
        if self.listed.len() < kept {
            self.listed.push(LineError { line, message: message() });
        } else {
            self.more += 1;
        }
    }

    fn in_order(mut self) -> Self {
        self.listed.sort_by_key(|error| error.line);
        self.more += self.listed.len().saturating_sub(MAX_LISTED);
        self.listed.truncate(MAX_LISTED);
        self
    }
}

fn draft<'l>(lines: &'l [EmployeeLine], errors: &mut LineErrors) -> Vec<Draft<'l>> {
    let mut drafts = Vec::with_capacity(lines.len());
    let mut taken: HashMap<EmployeeId, u64> = HashMap::new();
    for (number, line) in (1_i64..).zip(lines) {
        let mut wrong = |what: &str, reason: &str| {
            errors.push(MAX_LISTED, line.line, || format!("{what} {reason}"));
        };
        let id = match &line.id {
            Some(id) => {
                let id = id.trim().parse().ok().filter(|id: &EmployeeId| id.get() <= MAX_ID);
                id.or_else(|| {
                    wrong("id", "must be a positive number below 2^52");
                    None
                })
            }
            None => Some(EmployeeId::from(number)),
        };
        let name = Label::parse(&line.name).map_err(|invalid| wrong("name", invalid.0)).ok();
        let title =
            Label::parse_title(&line.title).map_err(|invalid| wrong("title", invalid.0)).ok();
        if let Some(first) = id.and_then(|id| taken.insert(id, line.line)) {
            wrong("id", &format!("is already used in line {first}"));
        }
        if let (Some(id), Some(name), Some(title)) = (id, name, title) {
            drafts.push(Draft { line, id, name, title });
        }
    }
    drafts
}

/// Each person's manager as a position in the list; `None` for the CEO.
fn managers(
    drafts: &[Draft<'_>],
    managed_by: ManagedBy,
    errors: &mut LineErrors,
) -> Vec<Option<usize>> {
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (position, draft) in drafts.iter().enumerate() {
        let name = match managed_by {
            ManagedBy::Id => draft.id.to_string(),
            ManagedBy::Key => draft.line.key.trim().to_lowercase(),
        };
        by_name.entry(name).or_default().push(position);
    }
    let mut top: Option<u64> = None;
    let mut found = Vec::with_capacity(drafts.len());
    let kept = errors.listed.len() + MAX_LISTED;
    for draft in drafts {
        let wanted = draft.line.manager.trim();
        let matches = by_name.get(&wanted.to_lowercase()).map_or(&[][..], Vec::as_slice);
        match (wanted.is_empty(), matches, top) {
            (true, _, None) => {
                top = Some(draft.line.line);
                found.push(None);
                continue;
            }
            (false, [one], _) => {
                found.push(Some(*one));
                continue;
            }
            _ => found.push(None),
        }
        errors.push(kept, draft.line.line, || match (top, matches) {
            (Some(first), _) if wanted.is_empty() => {
                format!("has no manager, and neither does line {first}; only the CEO can have none")
            }
            (_, []) => format!("manager {:?} is not in the list", quote(wanted)),
            (_, many) => {
                format!("manager {:?} is ambiguous: {} people match", quote(wanted), many.len())
            }
        });
    }
    found
}

/// Everyone who can be reached from the CEO, managers before their reports.
fn top_down(managers: &[Option<usize>]) -> Vec<usize> {
    let mut reports: Vec<Vec<usize>> = vec![Vec::new(); managers.len()];
    let mut order = Vec::with_capacity(managers.len());
    for (person, manager) in managers.iter().enumerate() {
        match manager {
            Some(manager) => reports[*manager].push(person),
            None => order.push(person),
        }
    }
    let mut next = 0;
    while let Some(&person) = order.get(next) {
        order.append(&mut reports[person]);
        next += 1;
    }
    order
}

fn cycles(drafts: &[Draft<'_>], managers: &[Option<usize>], reached: &[usize]) -> LineErrors {
    let mut seen = vec![false; drafts.len()];
    for person in reached {
        seen[*person] = true;
    }
    let mut errors = LineErrors::default();
    for start in 0..drafts.len() {
        let (mut path, mut at) = (Vec::new(), start);
        while !seen[at] {
            seen[at] = true;
            path.push(at);
            at = managers[at].unwrap_or(at);
        }
        if let Some(begin) = path.iter().position(|person| *person == at) {
            errors.push(drafts.len(), drafts[at].line.line, || {
                describe_cycle(drafts, &path[begin..])
            });
        }
    }
    errors.in_order()
}

/// Describes a cycle: who reports to whom. A long cycle is cut to [`QUOTED`] characters of names.
fn describe_cycle(drafts: &[Draft<'_>], people: &[usize]) -> String {
    let mut message = "is in a cycle: ".to_owned();
    let (mut quoted, mut listed) = (0, 0);
    for person in people.iter().chain(people.first()) {
        let name = drafts[*person].name.as_str();
        quoted += name.chars().count();
        if listed > 0 && quoted > QUOTED {
            let more = (people.len() - listed).to_string();
            message.extend([" and ", more.as_str(), " more"]);
            break;
        }
        message.push_str(if listed > 0 { " reports to " } else { "" });
        message.push_str(&quote(name));
        listed += 1;
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[(&str, &str)]) -> Vec<EmployeeLine> {
        (2..)
            .zip(text)
            .map(|(line, (name, manager))| EmployeeLine {
                line,
                id: None,
                key: (*name).to_owned(),
                name: (*name).to_owned(),
                title: "x".to_owned(),
                manager: (*manager).to_owned(),
            })
            .collect()
    }

    fn refusals(text: &[(&str, &str)]) -> Vec<(u64, String)> {
        let errors = place(&lines(text), ManagedBy::Key).unwrap_err();
        errors.listed.into_iter().map(|error| (error.line, error.message)).collect()
    }

    #[test]
    fn everyone_gets_a_place_in_any_order() {
        let list = lines(&[("Cy", "Bob"), ("Bob", "ada"), ("Ada", ""), ("Dan", " Ada ")]);
        let placed = place(&list, ManagedBy::Key).unwrap();
        let above: Vec<Vec<i64>> =
            placed.iter().map(|p| p.ancestors.iter().map(|a| a.get()).collect()).collect();
        assert_eq!(above, [vec![3, 2], vec![3], vec![], vec![3]]);
        assert!(place(&[], ManagedBy::Key).unwrap().is_empty());
    }

    #[test]
    fn every_wrong_line_is_reported() {
        let refused =
            refusals(&[("Ada", ""), ("Bob", "Eve"), ("", "Ada"), ("Cy", ""), ("Ada", "Bob")]);
        assert_eq!(refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(refused[0].1.contains("\"Eve\" is not in the list"));
        assert!(refused[1].1.contains("name must not be empty"));
        assert!(refused[2].1.contains("neither does line 2"));
        let refused = refusals(&[("Ada", ""), ("Bob", "Ada"), ("Bob", "Ada"), ("Cy", "Bob")]);
        assert_eq!(refused[0], (5, "manager \"Bob\" is ambiguous: 2 people match".to_owned()));
    }

    #[test]
    fn cycles_are_reported_with_their_members() {
        let refused =
            refusals(&[("Ada", ""), ("B", "D"), ("C", "B"), ("D", "C"), ("E", "B"), ("F", "F")]);
        assert_eq!(refused.len(), 2);
        assert_eq!(refused[0].1, "is in a cycle: B reports to D reports to C reports to B");
        assert_eq!(refused[1], (7, "is in a cycle: F reports to F".to_owned()));
        assert_eq!(refusals(&[("A", "B"), ("B", "A")]).len(), 1);
    }

    #[test]
    fn duplicate_and_too_large_ids_are_refused() {
        let mut list = lines(&[("Ada", ""), ("Bob", "7"), ("Cy", "7"), ("Dan", "7")]);
        for (line, id) in list.iter_mut().zip(["7", "8", "8", "4503599627370496"]) {
            line.id = Some(id.to_owned());
        }
        let errors = place(&list, ManagedBy::Id).unwrap_err().listed;
        assert_eq!(errors[0].message, "id is already used in line 3");
        assert_eq!(errors[1].message, "id must be a positive number below 2^52");
        list[3].id = Some("4503599627370495".to_owned());
        list[3].manager = "7".to_owned();
        list[2].id = Some("9".to_owned());
        assert_eq!(place(&list, ManagedBy::Id).unwrap()[3].id.get(), (1 << 52) - 1);
        list.truncate(2);
        assert_eq!(place(&list, ManagedBy::Id).unwrap()[1].ancestors, [7.into()]);
    }
}
