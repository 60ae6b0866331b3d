//! A person with those above, read together.

use bson::{Document, doc};

use super::documents::EmployeeDoc;
use crate::{
    domain::{ChartId, EmployeeId, charts::Employee},
    error::Result,
    store::tenant::{Key, TenantReader, keys},
};

/// Which of those above a person, from the manager up.
#[derive(Clone, Copy, Debug)]
pub struct Above {
    /// Behind whom they start.
    pub after: Option<EmployeeId>,
    /// How many at most.
    pub limit: u32,
}

impl TenantReader<'_> {
    /// The person, and in whatever order those `above` who are there, without `ancestors`, by one
    /// command that finds everybody by their key. What it reads is not all of one moment, unless in
    /// a transaction.
    ///
    /// # Errors
    /// The driver's.
    pub async fn employee_with(
        &mut self,
        chart: ChartId,
        id: EmployeeId,
        above: Above,
    ) -> Result<Option<(Employee, Vec<Employee>)>> {
        let store = self.store;
        let is_own = doc! { "$eq": ["$_id.employee", id.get()] };
        let pipeline = [
            doc! { "$match": Key::employee(store.org, chart, id).into_filter() },
            // The person is looked up once more, and so is there also where nobody is above.
            doc! { "$project": { "_id": 0, "k": { "$map": {
                "input": { "$concatArrays": [[id.get()], above.of("$ancestors")] },
                "as": "id",
                "in": keys::employee_expression(store.org, chart, "$$id"),
            } } } },
            doc! { "$unwind": "$k" },
        ];
        let rest = doc! { "$cond": [is_own, "$ancestors", "$$REMOVE"] };
        let pipeline = pipeline.into_iter().chain(store.found_by("k"));
        let pipeline = pipeline.chain([doc! { "$set": { "ancestors": rest } }]);
        let found: Vec<EmployeeDoc> = self.all_of(store.collection.aggregate(pipeline)).await?;
        let found = found.into_iter().map(Employee::from);
        let (mut own, others): (Vec<_>, Vec<_>) = found.partition(|person| person.id == id);
        Ok(own.pop().map(|person| (person, others)))
    }
}

impl Above {
    /// An expression for those of `list`, which goes from the CEO down to the manager.
    fn of(self, list: &str) -> Document {
        let limit = i32::try_from(self.limit).unwrap_or(i32::MAX);
        let Some(after) = self.after else { return doc! { "$slice": [list, -limit] } };
        let higher = doc! { "$slice": [list, { "$max": ["$$higher", 1] }] };
        doc! { "$let": {
            "vars": { "higher": { "$indexOfArray": [list, after.get()] } },
            "in": { "$cond": [
                { "$gt": ["$$higher", 0] },
                { "$slice": [higher, -limit] },
                [],
            ] },
        } }
    }
}
