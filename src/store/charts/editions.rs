//! Editions of charts that no chart shows: durable records of those that are being imported and of
//! those to remove, with a lease by the database's clock.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use mongodb::{Collection, options::ReturnDocument};
use serde::Deserialize;

use super::Team;
use crate::{
    domain::{
        ChartId, EmployeeId, OrgId, TaskId,
        charts::{Chart, Edition},
    },
    error::{Error, Result},
    failpoint,
    store::{
        Store,
        driver::{StoreError, Tx},
        schema,
        tasks::{is_before, millis},
        tenant::{Kind, TenantReader, TenantTx, keys},
    },
};

/// A recorded edition that no chart shows.
#[derive(Clone, Copy, Debug)]
pub struct SpareEdition {
    /// The id of the record.
    pub id: TaskId,
    /// The tenant.
    pub org_id: OrgId,
    /// The edition.
    pub edition: Edition,
}

/// What a chart says about the people of its edition.
#[derive(Clone, Copy, Debug)]
pub struct Headcount {
    /// The person without a manager.
    pub ceo: Option<EmployeeId>,
    /// How many people there are.
    pub people: i64,
    /// The highest employee id.
    pub last: i64,
}

#[derive(Deserialize)]
struct SpareEditionDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    org_id: ObjectId,
    chart: i64,
    edition: i64,
}

/// The number of an edition, and how many people are stored under it.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    edition: i64,
    people: i64,
}

const TAKEN_OVER: Error = Error::Busy { what: "the import took too long and was taken over" };

impl Store {
    fn spare_editions(&self) -> Collection<SpareEditionDoc> {
        self.master_collection(schema::SPARE_EDITIONS)
    }

    /// Records an edition that is being imported, leased to the caller.
    pub async fn start_import(&self, tx: &mut Tx, spare: &SpareEdition) -> Result<()> {
        self.insert_spare_edition(tx, spare, true, self.batch_lease()).await
    }

    /// Records an edition that is removed after `rest`, when nobody reads it any more.
    pub async fn start_removal(
        &self,
        tx: &mut Tx,
        spare: &SpareEdition,
        rest: Duration,
    ) -> Result<()> {
        self.insert_spare_edition(tx, spare, false, rest).await
    }

    async fn insert_spare_edition(
        &self,
        tx: &mut Tx,
        spare: &SpareEdition,
        importing: bool,
        rest: Duration,
    ) -> Result<()> {
        let set = doc! {
            "org_id": spare.org_id.object_id(),
            "chart": spare.edition.chart.get(),
            "edition": spare.edition.number(),
            "importing": importing,
            "lease_until": in_time(rest),
            "progress_at": in_time(rest),
        };
        self.spare_editions()
            .update_one(doc! { "_id": spare.id.object_id() }, vec![doc! { "$set": set }])
            .upsert(true)
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Renews the lease in the transaction of one batch, so that the batch conflicts with a
    /// takeover; `false` if the record is closed.
    ///
    /// # Errors
    /// [`Error::Busy`] if `importing` and another process has taken the edition over to remove it.
    pub async fn renew_spare_edition(
        &self,
        tx: &mut Tx,
        id: TaskId,
        importing: bool,
    ) -> Result<bool> {
        let set = doc! { "lease_until": in_time(self.batch_lease()), "progress_at": "$$NOW" };
        let updated = self
            .spare_editions()
            .update_one(
                doc! { "_id": id.object_id(), "importing": importing },
                vec![doc! { "$set": set }],
            )
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        match updated.matched_count {
            0 if importing => Err(TAKEN_OVER),
            found => Ok(found == 1),
        }
    }

    /// Ends the import in the transaction in which the chart begins to show its edition; from now on
    /// the record is about `old`, which is removed after `rest`, when nobody reads it any more.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has taken the edition over to remove it.
    pub async fn end_import(
        &self,
        tx: &mut Tx,
        id: TaskId,
        old: Edition,
        rest: Duration,
    ) -> Result<()> {
        let set = doc! {
            "edition": old.number(),
            "importing": false,
            "lease_until": in_time(rest),
            "progress_at": in_time(rest),
        };
        let updated = self
            .spare_editions()
            .update_one(
                doc! { "_id": id.object_id(), "importing": true },
                vec![doc! { "$set": set }],
            )
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        if updated.matched_count == 0 { Err(TAKEN_OVER) } else { Ok(()) }
    }

    /// Gives up an import: its edition is removed at the next recovery.
    pub async fn abandon_import(&self, id: TaskId) -> Result<()> {
        let filter = doc! { "_id": id.object_id(), "importing": true };
        let editions = self.spare_editions();
        let abandon =
            editions.update_one(filter, vec![doc! { "$set": { "lease_until": "$$NOW" } }]);
        self.answer("edition.abandon", abandon).await?;
        Ok(())
    }

    /// Takes over an edition whose lease has expired, to remove it.
    pub async fn claim_spare_edition(&self) -> Result<Option<SpareEdition>> {
        let set = doc! { "importing": false, "lease_until": in_time(self.batch_lease()) };
        let editions = self.spare_editions();
        let claim = editions
            .find_one_and_update(
                doc! { "$expr": { "$lt": ["$lease_until", "$$NOW"] } },
                vec![doc! { "$set": set }],
            )
            .sort(doc! { "lease_until": 1 })
            .return_document(ReturnDocument::After);
        Ok(self.answer("edition.claim", claim).await?.map(SpareEdition::from))
    }

    /// Deletes the record of an edition without people.
    pub async fn close_spare_edition(&self, tx: Option<&mut Tx>, id: TaskId) -> Result<()> {
        let editions = self.spare_editions();
        let delete = editions.delete_one(doc! { "_id": id.object_id() });
        match tx {
            Some(tx) => delete.session(&mut tx.session).await.map_err(StoreError::from)?,
            None => self.answer("edition.close", delete).await?,
        };
        Ok(())
    }

    /// How many editions are recorded whose import or removal has made no progress for more than
    /// `ago`. They rest before their removal, which does not count.
    pub async fn stuck_spare_editions(&self, ago: Duration) -> Result<u64> {
        let stuck = is_before("$progress_at", ago);
        self.answer("edition.stuck", self.spare_editions().count_documents(stuck)).await
    }

    /// The end of a lease that one batch renews: it outlasts the time that a batch may take.
    fn batch_lease(&self) -> Duration {
        self.limits.lease + self.limits.answer
    }
}

impl TenantReader<'_> {
    /// The edition that the chart shows; `None` if there is no such chart.
    ///
    /// Unless an import has ever been too large for one transaction in this tenant, no chart shows
    /// another edition than its first one. Then this needs no read, and finds every chart.
    pub async fn edition(&mut self, chart: ChartId) -> Result<Option<Edition>> {
        failpoint!("edition.skip_lookup", return Ok(Some(Edition::of(chart, None))));
        if self.tx.is_none() && !self.store.has_editions {
            return Ok(Some(Edition::of(chart, None)));
        }
        Ok(self.chart(chart).await?.map(|chart| chart.edition))
    }

    /// How many people the tenant has in editions that are neither in `shown` nor recorded.
    pub async fn stray_people(&mut self, master: &Store, shown: &[Edition]) -> Result<i64> {
        let all = doc! { "$match": keys::range(self.store.org, Kind::Employee) };
        let by_edition = doc! { "_id": "$_id.chart", "people": { "$sum": 1_i64 } };
        let by_edition = [all, doc! { "$group": by_edition }];
        let stored: Vec<Stored> = self.all_of(self.store.collection.aggregate(by_edition)).await?;
        let recorded = doc! { "org_id": self.store.org.object_id() };
        let recorded: Vec<SpareEditionDoc> =
            self.find_in(&master.spare_editions(), recorded).await?;
        let known = |number: i64| {
            shown.iter().any(|edition| edition.number() == number)
                || recorded.iter().any(|spare| spare.edition == number)
        };
        Ok(stored.iter().filter(|stored| !known(stored.edition)).map(|stray| stray.people).sum())
    }
}

impl TenantTx<'_> {
    /// Makes the chart show `edition`, which has these people; `None` if there is no such chart.
    pub async fn show_edition(
        &mut self,
        edition: Edition,
        count: Headcount,
    ) -> Result<Option<Chart>> {
        let mut set = doc! {
            "ceo": count.ceo.map(EmployeeId::get),
            "employee_count": count.people,
        };
        if !edition.is_first() {
            set.insert("edition", edition.number());
        }
        let update = doc! { "$set": set, "$max": { "next_employee": count.last } };
        Ok(self.update_chart(edition.chart, update).await?.map(Chart::from))
    }

    /// Removes the first `limit` people of the edition and returns how many it found.
    pub async fn remove_some(&mut self, edition: Edition, limit: u32) -> Result<usize> {
        let all = self.store.team(edition, Team::All, None);
        let found: Vec<Document> = self.reader().find_only(all, limit, doc! { "_id": 1 }).await?;
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            let range = doc! { "_id": { "$gte": first.get("_id"), "$lte": last.get("_id") } };
            let removed = self.store.collection.delete_many(range).session(&mut self.tx.session);
            removed.await.map_err(StoreError::from)?;
        }
        Ok(found.len())
    }
}

/// The time in `rest`, by the database's clock.
fn in_time(rest: Duration) -> Document {
    doc! { "$add": ["$$NOW", millis(rest)] }
}

impl From<SpareEditionDoc> for SpareEdition {
    fn from(doc: SpareEditionDoc) -> Self {
        Self {
            id: doc.id.into(),
            org_id: doc.org_id.into(),
            edition: Edition::of(doc.chart.into(), Some(doc.edition)),
        }
    }
}
