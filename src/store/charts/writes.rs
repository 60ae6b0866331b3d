//! Translates teams into filters and the writes of the hierarchy rules into updates.

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};

use crate::{
    domain::{
        EmployeeId,
        charts::{Edition, Write},
    },
    store::tenant::{Key, TenantStore, keys},
};

/// Which employees of an edition.
#[derive(Clone, Copy, Debug)]
pub enum Team {
    /// All employees.
    All,
    /// The direct reports of that employee.
    ReportsOf(EmployeeId),
    /// That employee and the direct reports.
    WithReports(EmployeeId),
    /// Everyone below that employee, on any level.
    Below(EmployeeId),
    /// That employee and everyone below.
    From(EmployeeId),
}

impl TenantStore {
    /// A filter for the team's employees after `after`. Besides the key range it repeats the
    /// edition's number, because the secondary indexes start with it and the planner can use them
    /// only then.
    pub(in crate::store) fn team(
        &self,
        edition: Edition,
        team: Team,
        after: Option<EmployeeId>,
    ) -> Document {
        let mut filter = keys::employees_after(self.org, edition, after);
        filter.insert("_id.chart", edition.number());
        match team {
            Team::All => {
                filter.remove("_id.chart");
            }
            Team::ReportsOf(manager) => {
                filter.insert("manager", manager.get());
            }
            Team::WithReports(manager) => {
                let own = doc! { "_id.employee": manager.get() };
                filter.insert("$or", vec![own, doc! { "manager": manager.get() }]);
            }
            Team::Below(top) => {
                filter.insert("ancestors", top.get());
            }
            Team::From(top) => {
                let own = doc! { "_id.employee": top.get() };
                filter.insert("$or", vec![own, doc! { "ancestors": top.get() }]);
            }
        }
        filter
    }

    /// A write of the rules for MongoDB: a filter, and the update of the matching documents, or
    /// `None` to delete them.
    pub(in crate::store) fn update_for(
        &self,
        edition: Edition,
        write: &Write,
        now: DateTime<Utc>,
    ) -> (Document, Option<Document>) {
        let numbers = |ids: &[EmployeeId]| -> Vec<i64> { ids.iter().map(|id| id.get()).collect() };
        let one = |who: &EmployeeId| Key::employee(self.org, edition, *who).into_filter();
        let below = |who: &EmployeeId| self.team(edition, Team::Below(*who), None);
        let (filter, mut set) = match write {
            Write::Remove { who } => return (one(who), None),
            Write::Place { who, manager, ancestors } => (
                one(who),
                doc! { "manager": manager.map(EmployeeId::get), "ancestors": numbers(ancestors) },
            ),
            Write::Shift { who, drop, prefix } => {
                let drop = i64::try_from(*drop).unwrap_or(i64::MAX);
                let kept = doc! { "$slice": ["$ancestors", drop, i32::MAX] };
                let above = doc! { "$concatArrays": [numbers(prefix), kept] };
                (below(who), doc! { "ancestors": above })
            }
            Write::PutOnTop { who, except } => {
                let mut others = self.team(edition, Team::All, None);
                let neither = [one(who), one(except)].map(|key| key.get("_id").cloned());
                let neither: Vec<Bson> = neither.into_iter().flatten().collect();
                others.insert("ancestors", doc! { "$ne": who.get() });
                others.insert("$nor", vec![doc! { "_id": { "$in": neither } }]);
                let above = doc! { "$concatArrays": [[who.get()], "$ancestors"] };
                (others, doc! { "ancestors": above })
            }
            Write::Gather { who, manager, ancestors } => {
                (below(who), doc! { "manager": manager.get(), "ancestors": numbers(ancestors) })
            }
            Write::Lift { who, manager } => {
                let direct = doc! { "$eq": ["$manager", who.get()] };
                let others = doc! { "$ne": ["$$this", who.get()] };
                let above =
                    doc! { "$filter": { "input": "$ancestors", "as": "this", "cond": others } };
                let reports_to = doc! { "$cond": [direct, manager.get(), "$manager"] };
                (below(who), doc! { "manager": reports_to, "ancestors": above })
            }
        };
        set.insert("updated_at", bson::DateTime::from_chrono(now));
        (filter, Some(doc! { "$set": set }))
    }
}
