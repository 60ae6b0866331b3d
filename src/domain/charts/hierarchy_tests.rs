//! Tests the rules against a naive model that stores only each person's manager.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::domain::Label;

type People = BTreeMap<EmployeeId, (Option<EmployeeId>, Vec<EmployeeId>)>;
type Model = BTreeMap<EmployeeId, Option<EmployeeId>>;

fn id(number: i64) -> EmployeeId {
    number.into()
}

fn chain(model: &Model, who: EmployeeId) -> Vec<EmployeeId> {
    let (mut above, mut at) = (Vec::new(), who);
    while let Some(manager) = model[&at] {
        assert!(above.len() <= model.len(), "a cycle");
        above.insert(0, manager);
        at = manager;
    }
    above
}

fn people(model: &Model) -> People {
    model.keys().map(|who| (*who, (model[who], chain(model, *who)))).collect()
}

fn employee(model: &Model, who: EmployeeId) -> Employee {
    let label = Label::parse("x").unwrap();
    Employee {
        id: who,
        chart: 1.into(),
        name: label.clone(),
        title: label,
        manager: model[&who],
        ancestors: chain(model, who),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

/// What each write means, implemented independently of the store.
fn apply(people: &mut People, writes: &[Write]) {
    for write in writes {
        for (who, (manager, above)) in people.iter_mut() {
            match write {
                Write::Place { who: w, manager: m, ancestors } if who == w => {
                    (*manager, *above) = (*m, ancestors.clone());
                }
                Write::Shift { who: w, drop, prefix } if above.contains(w) => {
                    *above = [prefix, &above[*drop..]].concat();
                }
                Write::PutOnTop { who: w, except }
                    if who != w && who != except && !above.contains(w) =>
                {
                    above.insert(0, *w);
                }
                Write::Gather { who: w, manager: m, ancestors } if above.contains(w) => {
                    (*manager, *above) = (Some(*m), ancestors.clone());
                }
                Write::Lift { who: w, manager: m } if above.contains(w) => {
                    above.retain(|a| a != w);
                    if *manager == Some(*w) {
                        *manager = Some(*m);
                    }
                }
                _ => {}
            }
        }
        if let Write::Remove { who } = write {
            people.remove(who);
        }
    }
}

/// A valid chart: everyone but the first reports to someone before them.
fn charts() -> impl Strategy<Value = Model> {
    prop::collection::vec(any::<prop::sample::Index>(), 1..40).prop_map(|managers| {
        let mut model = Model::from([(id(1), None)]);
        for (number, manager) in (2_i64..).zip(managers) {
            let manager = i64::try_from(manager.index(model.len())).unwrap() + 1;
            model.insert(id(number), Some(id(manager)));
        }
        model
    })
}

fn pick(model: &Model, index: prop::sample::Index) -> EmployeeId {
    *model.keys().nth(index.index(model.len())).unwrap()
}

proptest! {
    #[test]
    fn moving_keeps_the_team_and_never_makes_a_cycle(
        model in charts(), who: prop::sample::Index, to: prop::sample::Index,
    ) {
        let (who, to) = (pick(&model, who), pick(&model, to));
        let moved = move_to(&employee(&model, who), Some(&employee(&model, to)), model.len());
        let inside = who == to || chain(&model, to).contains(&who);
        match moved {
            Err(Refusal::UsePromote) => prop_assert_eq!(model[&who], None),
            Err(Refusal::Cycle) => prop_assert!(inside),
            Err(other) => prop_assert!(false, "{other:?}"),
            Ok(writes) => {
                prop_assert!(!inside);
                let mut after = people(&model);
                apply(&mut after, &writes);
                let mut expected = model;
                expected.insert(who, Some(to));
                prop_assert_eq!(after, people(&expected));
            }
        }
    }

    #[test]
    fn deleting_moves_the_reports_to_the_manager(
        model in charts(), who: prop::sample::Index, all: bool,
    ) {
        let who = pick(&model, who);
        let reparent = if all { Reparent::All } else { Reparent::Direct };
        let removed = remove(&employee(&model, who), reparent);
        let Some(manager) = model[&who] else {
            prop_assert_eq!(removed, Err(Refusal::CeoProtected));
            return Ok(());
        };
        let mut after = people(&model);
        apply(&mut after, &removed.unwrap());
        let mut expected = model.clone();
        expected.remove(&who);
        for (below, reports_to) in &mut expected {
            let indirect = chain(&model, *below).contains(&who);
            if *reports_to == Some(who) || (all && indirect) {
                *reports_to = Some(manager);
            }
        }
        prop_assert_eq!(after, people(&expected));
    }

    #[test]
    fn promotion_puts_the_old_ceo_below_and_keeps_all_other_managers(
        model in charts(), who: prop::sample::Index,
    ) {
        let who = pick(&model, who);
        let writes = promote(&employee(&model, who), id(1), model.len()).unwrap();
        let mut after = people(&model);
        apply(&mut after, &writes);
        let mut expected = model;
        expected.insert(id(1), Some(who));
        expected.insert(who, None);
        prop_assert_eq!(after, people(&expected));
    }
}

#[test]
fn a_chart_has_exactly_one_ceo() {
    let model = Model::from([(id(1), None), (id(2), Some(id(1)))]);
    assert_eq!(hire(None, false), Ok(Vec::new()));
    assert_eq!(hire(None, true), Err(Refusal::HasCeo));
    assert_eq!(hire(Some(&employee(&model, id(2))), true), Ok(vec![id(1), id(2)]));
    let (ceo, other) = (employee(&model, id(1)), employee(&model, id(2)));
    assert_eq!(move_to(&ceo, Some(&other), 1), Err(Refusal::UsePromote));
    assert_eq!(move_to(&other, None, 1), Err(Refusal::UsePromote));
    assert_eq!(move_to(&ceo, None, 1), Ok(Vec::new()));
    assert_eq!(move_to(&other, Some(&ceo), 1), Ok(Vec::new()));
    assert_eq!(promote(&ceo, id(1), 1), Ok(Vec::new()));
}

#[test]
fn depth_is_limited() {
    let model: Model = (1..=1_001).map(|n| (id(n), (n > 1).then(|| id(n - 1)))).collect();
    let lowest = employee(&model, id(1_001));
    assert_eq!(lowest.ancestors.len(), MAX_DEPTH);
    assert_eq!(hire(Some(&lowest), true), Err(Refusal::TooDeep));
    assert!(hire(Some(&employee(&model, id(1_000))), true).is_ok());
    assert_eq!(promote(&employee(&model, id(2)), id(1), MAX_DEPTH), Err(Refusal::TooDeep));
    let (third, second) = (employee(&model, id(3)), employee(&model, id(2)));
    assert_eq!(move_to(&third, Some(&employee(&model, id(1))), MAX_DEPTH).map(drop), Ok(()));
    assert_eq!(move_to(&second, Some(&third), MAX_DEPTH), Err(Refusal::Cycle));
}
