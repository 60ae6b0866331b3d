//! Org charts in a tenant's collection.

mod chain;
mod documents;
mod editions;
mod writes;

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};

pub use chain::ChainPage;
use documents::{ChartDoc, EmployeeDoc};
pub use editions::{Headcount, SpareEdition};
pub use writes::Team;

use super::{
    driver::StoreError,
    tenant::{Key, Kind, TenantReader, TenantTx, keys},
};
use crate::{
    domain::{
        ChartId, EmployeeId, Label,
        charts::{Chart, Edition, Employee, Write},
    },
    error::Result,
    failpoint,
};

/// A chart after the start of a change, and its highest employee id.
#[derive(Debug)]
pub struct TouchedChart {
    /// The chart, with the new employee count.
    pub chart: Chart,
    /// The highest employee id that was ever assigned.
    pub last_employee: i64,
}

impl From<ChartDoc> for TouchedChart {
    fn from(doc: ChartDoc) -> Self {
        Self { last_employee: doc.next_employee, chart: doc.into() }
    }
}

impl TenantReader<'_> {
    /// The chart, if there is one.
    pub async fn chart(&mut self, id: ChartId) -> Result<Option<Chart>> {
        let filter = Key::chart(self.store.org, id).into_filter();
        let found: Vec<ChartDoc> = self.find(filter, 1).await?;
        Ok(found.into_iter().next().map(Chart::from))
    }

    /// At most `limit` charts after `after`, ordered by id.
    pub async fn charts(&mut self, after: Option<ChartId>, limit: u32) -> Result<Vec<Chart>> {
        let range = match after {
            Some(after) => keys::charts_after(self.store.org, after),
            None => keys::range(self.store.org, Kind::Chart),
        };
        let found: Vec<ChartDoc> = self.find(range, limit).await?;
        Ok(found.into_iter().map(Chart::from).collect())
    }

    /// Whether the tenant document shows that the tenant has never had a chart; `false` if the
    /// tenant is not at this location.
    pub async fn never_had_charts(&mut self) -> Result<bool> {
        let tenant = self.get(Key::tenant(self.store.org)).await?;
        Ok(tenant.is_some_and(|tenant| tenant.get_i64("charts").is_ok_and(|last| last == 0)))
    }

    /// The employee, if there is one.
    pub async fn employee(&mut self, edition: Edition, id: EmployeeId) -> Result<Option<Employee>> {
        let filter = Key::employee(self.store.org, edition, id).into_filter();
        let found: Vec<EmployeeDoc> = self.find(filter, 1).await?;
        Ok(found.into_iter().next().map(|doc| doc.into_employee(edition.chart)))
    }

    /// At most `limit` employees of `team` after `after`, ordered by id.
    pub async fn employees(
        &mut self,
        edition: Edition,
        team: Team,
        after: Option<EmployeeId>,
        limit: u32,
    ) -> Result<Vec<Employee>> {
        let filter = self.store.team(edition, team, after);
        let found: Vec<EmployeeDoc> = self.find(filter, limit).await?;
        Ok(found.into_iter().map(|doc| doc.into_employee(edition.chart)).collect())
    }

    /// As [`TenantReader::employees`], without `ancestors`, which are most of the data in a deep
    /// chart.
    pub async fn employees_flat(
        &mut self,
        edition: Edition,
        team: Team,
        after: Option<EmployeeId>,
        limit: u32,
    ) -> Result<Vec<Employee>> {
        let filter = self.store.team(edition, team, after);
        let found: Vec<EmployeeDoc> =
            self.find_only(filter, limit, doc! { "ancestors": 0 }).await?;
        Ok(found.into_iter().map(|doc| doc.into_employee(edition.chart)).collect())
    }
}

impl TenantTx<'_> {
    /// Inserts an empty chart.
    pub async fn insert_chart(&mut self, chart: &Chart) -> Result<()> {
        let fields = doc! {
            "name": chart.name.as_str(),
            "ceo": Bson::Null,
            "employee_count": 0_i64,
            "next_employee": 0_i64,
            "structure_version": 0_i64,
            "created_at": bson::DateTime::from_chrono(chart.created_at),
            "updated_at": bson::DateTime::from_chrono(chart.updated_at),
        };
        let key = Key::chart(self.store.org, chart.id);
        self.insert(&key, fields).await
    }

    /// Starts a change of the chart's structure, which conflicts with every other one; with
    /// snapshot isolation alone, two moves could form a cycle. Adds `people` to the employee count
    /// and `ids` to the highest id. `None` if there is no such chart.
    pub async fn touch_chart(
        &mut self,
        id: ChartId,
        people: i64,
        ids: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<TouchedChart>> {
        failpoint!("chart.skip_touch", {
            // Only hires and departures write the chart then, to keep its numbers right.
            if people == 0 {
                let same = doc! { "$inc": { "structure_version": 0_i64 } };
                return Ok(self.update_chart(id, same).await?.map(TouchedChart::from));
            }
        });
        let grow =
            doc! { "structure_version": 1_i64, "employee_count": people, "next_employee": ids };
        let set = doc! { "updated_at": bson::DateTime::from_chrono(now) };
        let touched = self.update_chart(id, doc! { "$inc": grow, "$set": set }).await?;
        Ok(touched.map(TouchedChart::from))
    }

    /// Renames the chart; `None` if there is no such chart.
    pub async fn rename_chart(
        &mut self,
        id: ChartId,
        name: &Label,
        now: DateTime<Utc>,
    ) -> Result<Option<Chart>> {
        let set = doc! { "name": name.as_str(), "updated_at": bson::DateTime::from_chrono(now) };
        Ok(self.update_chart(id, doc! { "$set": set }).await?.map(Chart::from))
    }

    /// Sets the chart's CEO.
    pub async fn set_ceo(&mut self, id: ChartId, ceo: EmployeeId) -> Result<()> {
        self.update_chart(id, doc! { "$set": { "ceo": ceo.get() } }).await?;
        Ok(())
    }

    /// Deletes the chart, without its employees.
    pub async fn remove_chart(&mut self, id: ChartId) -> Result<()> {
        let key = Key::chart(self.store.org, id).into_filter();
        let removed = self.store.collection.delete_one(key).session(&mut self.tx.session);
        removed.await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Deletes all employees of the edition.
    pub async fn remove_people(&mut self, edition: Edition) -> Result<()> {
        let people = self.store.team(edition, Team::All, None);
        let removed = self.store.collection.delete_many(people).session(&mut self.tx.session);
        removed.await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Inserts employees whose `ancestors` are set.
    pub async fn insert_employees(
        &mut self,
        edition: Edition,
        employees: &[Employee],
    ) -> Result<()> {
        if employees.is_empty() {
            return Ok(());
        }
        let org = self.store.org;
        let docs = employees.iter().map(|employee| EmployeeDoc::of(org, edition, employee));
        let collection = self.store.collection.clone_with_type::<EmployeeDoc>();
        let inserted = collection.insert_many(docs).session(&mut self.tx.session).await;
        inserted.map_err(StoreError::from)?;
        Ok(())
    }

    /// Changes an employee's name and title.
    pub async fn update_employee(
        &mut self,
        edition: Edition,
        employee: &Employee,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let key = Key::employee(self.store.org, edition, employee.id);
        let set = doc! {
            "name": employee.name.as_str(),
            "title": employee.title.as_str(),
            "updated_at": bson::DateTime::from_chrono(now),
        };
        let update = self.store.collection.update_one(key.into_filter(), doc! { "$set": set });
        update.session(&mut self.tx.session).await.map_err(StoreError::from)?;
        Ok(())
    }

    /// The greatest number of ancestors in `team`; 0 if it is empty.
    pub async fn depth_of(&mut self, edition: Edition, team: Team) -> Result<usize> {
        let deepest = doc! { "_id": Bson::Null, "depth": { "$max": { "$size": "$ancestors" } } };
        let pipeline =
            [doc! { "$match": self.store.team(edition, team, None) }, doc! { "$group": deepest }];
        let mut cursor = self
            .store
            .collection
            .aggregate(pipeline)
            .session(&mut self.tx.session)
            .await
            .map_err(StoreError::from)?;
        let found =
            cursor.next(&mut self.tx.session).await.transpose().map_err(StoreError::from)?;
        let depth = found.and_then(|group| group.get_i32("depth").ok()).unwrap_or_default();
        Ok(usize::try_from(depth).unwrap_or_default())
    }

    /// How many people are in `team`.
    pub async fn count_team(&mut self, edition: Edition, team: Team) -> Result<u64> {
        let filter = self.store.team(edition, team, None);
        let count = self.store.collection.count_documents(filter).session(&mut self.tx.session);
        Ok(count.await.map_err(StoreError::from)?)
    }

    /// Applies the writes of the hierarchy rules and returns how many employees each has changed.
    pub async fn apply(
        &mut self,
        edition: Edition,
        writes: &[Write],
        now: DateTime<Utc>,
    ) -> Result<Vec<u64>> {
        let mut changed = Vec::with_capacity(writes.len());
        for write in writes {
            let (filter, update) = self.store.update_for(edition, write, now);
            let count = if let Some(update) = update {
                let update = self.store.collection.update_many(filter, vec![update]);
                let done = update.session(&mut self.tx.session).await;
                done.map_err(StoreError::from)?.modified_count
            } else {
                let delete = self.store.collection.delete_one(filter);
                let done = delete.session(&mut self.tx.session).await;
                done.map_err(StoreError::from)?.deleted_count
            };
            changed.push(count);
        }
        Ok(changed)
    }

    async fn update_chart(&mut self, id: ChartId, update: Document) -> Result<Option<ChartDoc>> {
        let updated = self
            .store
            .collection
            .clone_with_type::<ChartDoc>()
            .find_one_and_update(Key::chart(self.store.org, id).into_filter(), update)
            .return_document(mongodb::options::ReturnDocument::After)
            .session(&mut self.tx.session)
            .await;
        Ok(updated.map_err(StoreError::from)?)
    }
}
