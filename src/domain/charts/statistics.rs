//! Statistics of a chart, and the checks of a stored one.

use std::collections::{HashMap, HashSet};

use super::{Chart, Employee};
use crate::domain::EmployeeId;

/// The statistics of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The number of people.
    pub people: usize,
    /// The number of levels below the CEO.
    pub depth: usize,
    /// The number of people with direct reports.
    pub managers: usize,
    /// The average number of direct reports per manager; 0 without managers.
    pub mean_span: f64,
    /// The largest number of direct reports.
    pub max_span: usize,
    /// The managers with that many, sorted by id.
    pub widest: Vec<EmployeeId>,
}

impl Statistics {
    /// Computes the statistics of a valid chart from the managers alone.
    #[must_use]
    pub fn of(people: &[Employee]) -> Self {
        let mut teams: HashMap<EmployeeId, Vec<EmployeeId>> = HashMap::new();
        for person in people {
            if let Some(manager) = person.manager {
                teams.entry(manager).or_default().push(person.id);
            }
        }
        let max_span = teams.values().map(Vec::len).max().unwrap_or_default();
        let mut widest: Vec<EmployeeId> =
            teams.iter().filter(|(_, team)| team.len() == max_span).map(|(id, _)| *id).collect();
        widest.sort_unstable();
        let reports: usize = teams.values().map(Vec::len).sum();
        #[expect(clippy::cast_precision_loss, reason = "no chart has 2^52 people")]
        let mean_span = if teams.is_empty() { 0.0 } else { reports as f64 / teams.len() as f64 };
        let top = people.iter().find(|person| person.manager.is_none());
        Self {
            people: people.len(),
            depth: top.map_or(0, |top| levels_below(top.id, &teams)),
            managers: teams.len(),
            mean_span,
            max_span,
            widest,
        }
    }
}

fn levels_below(top: EmployeeId, teams: &HashMap<EmployeeId, Vec<EmployeeId>>) -> usize {
    let (mut depth, mut level) = (0, vec![top]);
    loop {
        level = level.iter().filter_map(|person| teams.get(person)).flatten().copied().collect();
        if level.is_empty() {
            return depth;
        }
        depth += 1;
    }
}

/// Every rule that a stored chart breaks, as sentences without a subject; empty for a valid chart.
#[must_use]
pub fn flaws(chart: &Chart, people: &[Employee]) -> Vec<String> {
    let mut flaws = Vec::new();
    let places: HashMap<EmployeeId, &Employee> = people.iter().map(|p| (p.id, p)).collect();
    if usize::try_from(chart.employee_count) != Ok(people.len()) {
        flaws.push(format!("counts {} people and has {}", chart.employee_count, people.len()));
    }
    let tops: Vec<EmployeeId> =
        people.iter().filter(|p| p.manager.is_none()).map(|p| p.id).collect();
    if tops.len() > 1 || (tops.is_empty() && !people.is_empty()) {
        flaws.push(format!("has {} people without a manager", tops.len()));
    }
    if chart.ceo != tops.first().copied() {
        flaws.push("names another CEO than the person without a manager".to_owned());
    }
    for person in people {
        let Some(manager) = person.manager else { continue };
        match places.get(&manager) {
            None => flaws.push(format!("employee {} reports to unknown id {manager}", person.id)),
            Some(manager) => {
                let (last, above) = match person.ancestors.split_last() {
                    Some((last, above)) => (Some(*last), above),
                    None => (None, &[][..]),
                };
                if last != Some(manager.id) || above != manager.ancestors {
                    flaws.push(format!("employee {} has wrong ancestors", person.id));
                }
            }
        }
        let once: HashSet<&EmployeeId> = person.ancestors.iter().collect();
        if once.len() < person.ancestors.len() || once.contains(&person.id) {
            flaws.push(format!("employee {} is in a cycle", person.id));
        }
    }
    flaws
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{Label, charts::Edition};

    fn person(id: i64, ancestors: &[i64]) -> Employee {
        let label = Label::parse("x").unwrap();
        let ancestors: Vec<EmployeeId> = ancestors.iter().map(|a| EmployeeId::from(*a)).collect();
        Employee {
            id: id.into(),
            chart: 1.into(),
            name: label.clone(),
            title: label,
            manager: ancestors.last().copied(),
            ancestors,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn chart(count: i64, ceo: Option<i64>) -> Chart {
        Chart {
            id: 1.into(),
            edition: Edition::of(1.into(), None),
            name: Label::parse("x").unwrap(),
            ceo: ceo.map(EmployeeId::from),
            employee_count: count,
            structure_version: 0,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn statistics_count_people_levels_and_spans() {
        let people = [
            person(1, &[]),
            person(2, &[1]),
            person(3, &[1]),
            person(4, &[1, 2]),
            person(5, &[1, 2]),
        ];
        let statistics = Statistics::of(&people);
        assert_eq!((statistics.people, statistics.depth, statistics.managers), (5, 2, 2));
        assert_eq!((statistics.max_span, statistics.widest), (2, vec![1.into(), 2.into()]));
        assert!((statistics.mean_span - 2.0).abs() < f64::EPSILON);
        assert_eq!(Statistics::of(&[]), Statistics::default());
        assert!(flaws(&chart(5, Some(1)), &people).is_empty());
        assert!(flaws(&chart(0, None), &[]).is_empty());
    }

    #[test]
    fn every_broken_rule_is_found() {
        let (ceo, report) = (person(1, &[]), person(2, &[1]));
        let cases = [
            (chart(3, Some(1)), vec![ceo.clone(), report.clone()], "counts 3"),
            (chart(2, Some(2)), vec![ceo.clone(), report.clone()], "another CEO"),
            (chart(2, Some(1)), vec![ceo.clone(), person(2, &[])], "2 people without"),
            (chart(2, Some(1)), vec![ceo.clone(), person(2, &[9])], "unknown id 9"),
            (chart(3, Some(1)), vec![ceo.clone(), report, person(3, &[2])], "3 has wrong"),
            (
                chart(3, Some(1)),
                vec![ceo, person(2, &[1, 3]), person(3, &[1, 2])],
                "wrong ancestors",
            ),
            (chart(2, None), vec![person(1, &[2]), person(2, &[1, 2])], "2 is in a cycle"),
        ];
        for (chart, people, expected) in cases {
            let found = flaws(&chart, &people);
            assert!(found.iter().any(|flaw| flaw.contains(expected)), "{expected}: {found:?}");
        }
    }
}
