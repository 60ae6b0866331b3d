//! An employee and the managers above, read with one command.

use bson::{Document, doc};

use super::documents::EmployeeDoc;
use crate::{
    domain::{
        EmployeeId,
        charts::{Edition, Employee},
    },
    error::Result,
    store::tenant::{Key, TenantReader, keys},
};

/// Which page of the managers above an employee, nearest first.
#[derive(Clone, Copy, Debug)]
pub struct ChainPage {
    /// The last manager of the previous page.
    pub after: Option<EmployeeId>,
    /// The maximum number of managers.
    pub limit: u32,
}

impl TenantReader<'_> {
    /// The employee, and the existing managers of that page in any order, without `ancestors`. One
    /// command finds all of them by key. Outside of a transaction they may be of different moments.
    pub async fn employee_with(
        &mut self,
        edition: Edition,
        id: EmployeeId,
        page: ChainPage,
    ) -> Result<Option<(Employee, Vec<Employee>)>> {
        let store = self.store;
        let is_own = doc! { "$eq": ["$_id.employee", id.get()] };
        let pipeline = [
            doc! { "$match": Key::employee(store.org, edition, id).into_filter() },
            // The employee's own id is included, so the result has it even without managers.
            doc! { "$project": { "_id": 0, "k": { "$map": {
                "input": { "$concatArrays": [[id.get()], page.of("$ancestors")] },
                "as": "id",
                "in": keys::employee_expression(store.org, edition, "$$id"),
            } } } },
            doc! { "$unwind": "$k" },
        ];
        let rest = doc! { "$cond": [is_own, "$ancestors", "$$REMOVE"] };
        let pipeline = pipeline.into_iter().chain(store.found_by("k"));
        let pipeline = pipeline.chain([doc! { "$set": { "ancestors": rest } }]);
        let found: Vec<EmployeeDoc> = self.all_of(store.collection.aggregate(pipeline)).await?;
        let found = found.into_iter().map(|doc| doc.into_employee(edition.chart));
        let (mut own, others): (Vec<_>, Vec<_>) = found.partition(|person| person.id == id);
        Ok(own.pop().map(|person| (person, others)))
    }
}

impl ChainPage {
    /// An aggregation expression for this page of `list`, which goes from the CEO down to the
    /// manager.
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
