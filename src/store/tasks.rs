//! Durable tasks: recorded work that outlives the request that started it, with a lease by the
//! database's clock.

use std::time::{Duration, Instant};

use bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};
use futures::TryStreamExt;
use mongodb::{Collection, options::ReturnDocument};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::tenancy::organizations::LocationDoc;
use crate::{
    domain::{
        AccountId, EventId, OrgId, TaskId,
        scheduling::OccurrenceId,
        tenancy::{Location, Slug},
    },
    error::{Error, Result},
    store::{
        Store,
        driver::{StoreError, Tx},
        schema,
    },
};

/// A recorded task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The organization.
    pub org_id: OrgId,
    /// What is to be done.
    pub work: Work,
    /// When this process got its lease.
    pub leased: Instant,
    /// Marks the holder of the lease.
    owner: ObjectId,
}

/// What a task does. Every kind can be done again from its beginning.
#[derive(Clone, Debug, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Work {
    /// Renames the organization and its collection.
    Rename {
        /// The tenant's collection.
        of: TenantCollection,
        /// The slug of the old name.
        old_slug: Slug,
        /// The new name.
        new_name: String,
        /// The slug of the new name.
        new_slug: Slug,
        /// The new location.
        to: Location,
    },
    /// Deletes the organization.
    Delete {
        /// The tenant's collection.
        of: TenantCollection,
    },
    /// Cancels all registrations for an event's occurrences that start at that time or later.
    CancelEvent(OccurrenceId),
    /// Cancels all registrations for one occurrence.
    CancelOccurrence(OccurrenceId),
    /// Frees all seats of a member, and its places on waiting lists.
    ReleaseMember(AccountId),
    /// Gives the free seats of an event to its waiting lists.
    PromoteWaiting(EventId),
}

/// A tenant's collection, as it was when a task was recorded.
#[derive(Clone, Debug)]
pub struct TenantCollection {
    /// Where it was.
    pub location: Location,
    /// Its UUID, so that a late step cannot change another collection that has taken its name.
    pub uuid: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct TaskDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    org_id: ObjectId,
    owner: ObjectId,
    #[serde(flatten)]
    work: WorkDoc,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WorkDoc {
    Rename {
        from: LocationDoc,
        collection: Binary,
        old_slug: String,
        new_name: String,
        new_slug: String,
        to: LocationDoc,
    },
    Delete {
        from: LocationDoc,
        collection: Binary,
    },
    CancelEvent {
        event: ObjectId,
        start: bson::DateTime,
    },
    CancelOccurrence {
        event: ObjectId,
        start: bson::DateTime,
    },
    ReleaseMember {
        member: ObjectId,
    },
    PromoteWaiting {
        event: ObjectId,
    },
}

#[derive(Deserialize)]
struct StuckDoc {
    #[serde(rename = "_id")]
    kind: String,
    count: u64,
}

impl Task {
    /// A new task, to be recorded.
    #[must_use]
    pub fn new(org_id: OrgId, work: Work) -> Self {
        Self {
            id: TaskId::generate(),
            org_id,
            work,
            leased: Instant::now(),
            owner: ObjectId::new(),
        }
    }
}

impl Work {
    /// Whether the organization has at most one such task at a time.
    const fn is_exclusive(&self) -> bool {
        matches!(self, Self::Rename { .. } | Self::Delete { .. })
    }
}

impl Store {
    fn tasks(&self) -> Collection<TaskDoc> {
        self.master_collection(schema::TASKS)
    }

    /// Records the task, leased to the caller.
    ///
    /// # Errors
    /// [`Error::Busy`] if the task is exclusive and the organization already has one.
    pub async fn insert_task(&self, tx: &mut Tx, task: &Task) -> Result<()> {
        let doc = bson::serialize_to_document(&TaskDoc::from(task))
            .map_err(|e| StoreError::undecodable("task", e.to_string()))?;
        // A pipeline update would read a name such as "$x" as a field path.
        let mut set: Document = doc
            .into_iter()
            .filter(|(field, _)| field != "_id")
            .map(|(field, value)| (field, doc! { "$literal": value }.into()))
            .collect();
        if task.work.is_exclusive() {
            set.insert("exclusive", true);
        }
        set.insert("lease_until", self.lease_expression());
        self.tasks()
            .update_one(doc! { "_id": task.id.object_id() }, vec![doc! { "$set": set }])
            .upsert(true)
            .session(&mut tx.session)
            .await
            .map_err(|e| {
                let error = StoreError::from(e);
                if error.is_duplicate(schema::TASK_INDEX) { BUSY } else { error.into() }
            })?;
        Ok(())
    }

    /// How long a lease is good for its holder: half of it. Commands that the holder has sent by then
    /// run for at most the other half, so they end before another process may start.
    #[must_use]
    pub fn lease_share(&self) -> Duration {
        self.limits.lease / 2
    }

    /// Takes over the task whose lease expired first, except those in `driven`, which the caller
    /// already works on. A kind that this release does not know is left to others.
    pub async fn claim_task(&self, driven: &[TaskId]) -> Result<Option<Task>> {
        let driven: Vec<ObjectId> = driven.iter().map(|id| id.object_id()).collect();
        let filter = doc! {
            "_id": { "$nin": driven },
            "kind": { "$in": Work::VARIANTS },
            "$expr": { "$lt": ["$lease_until", "$$NOW"] },
        };
        let set = doc! { "$set": {
            "lease_until": self.lease_expression(),
            "owner": ObjectId::new(),
            "attempts": { "$add": [{ "$ifNull": ["$attempts", 0_i64] }, 1_i64] },
        } };
        let tasks = self.tasks();
        let claim = tasks
            .find_one_and_update(filter, vec![set])
            .sort(doc! { "lease_until": 1 })
            .return_document(ReturnDocument::After);
        let leased = Instant::now();
        let claimed = self.answer("task.claim", claim).await?;
        let claimed = claimed.map(Task::try_from).transpose()?;
        Ok(claimed.map(|task| Task { leased, ..task }))
    }

    /// Renews the lease; `false` if another process has taken the task over or closed it.
    pub async fn renew_task(&self, task: &Task) -> Result<bool> {
        let filter = doc! { "_id": task.id.object_id(), "owner": task.owner };
        self.set_in_task(filter, doc! { "lease_until": self.lease_expression() }).await
    }

    /// Records that the task has got on to `done`, of whatever it counts.
    pub async fn record_progress(&self, id: TaskId, done: u64) -> Result<()> {
        let done = i64::try_from(done).unwrap_or(i64::MAX);
        let set = doc! { "progress_at": "$$NOW", "done": done };
        self.set_in_task(doc! { "_id": id.object_id() }, set).await.map(drop)
    }

    /// Records why the task has failed. It is tried again once its lease expires.
    pub async fn record_failure(&self, id: TaskId, error: &str) -> Result<()> {
        let set = doc! { "error": { "$literal": error } };
        self.set_in_task(doc! { "_id": id.object_id() }, set).await.map(drop)
    }

    async fn set_in_task(&self, filter: Document, set: Document) -> Result<bool> {
        let tasks = self.tasks();
        let update = tasks.update_one(filter, vec![doc! { "$set": set }]);
        Ok(self.answer("task.update", update).await?.matched_count == 1)
    }

    /// Deletes the record of a completed task; `false` if another process has done so.
    pub async fn close_task(&self, tx: &mut Tx, id: TaskId) -> Result<bool> {
        let tasks = self.tasks();
        let delete = tasks.delete_one(doc! { "_id": id.object_id() }).session(&mut tx.session);
        Ok(delete.await.map_err(StoreError::from)?.deleted_count == 1)
    }

    /// As [`Store::close_task`], outside of a transaction.
    pub async fn close_task_alone(&self, id: TaskId) -> Result<()> {
        let tasks = self.tasks();
        let delete = tasks.delete_one(doc! { "_id": id.object_id() });
        self.answer("task.close", delete).await.map(drop)
    }

    /// Whether `org` has any task.
    pub async fn has_tasks(&self, org: OrgId) -> Result<bool> {
        let tasks = self.tasks();
        let find = tasks.find_one(doc! { "org_id": org.object_id() });
        Ok(self.answer("task.find", find).await?.is_some())
    }

    /// The kinds of the tasks that have made no progress since the first lease on them ended more
    /// than `ago` ago, each with how many there are.
    pub async fn stuck_tasks(&self, ago: Duration) -> Result<Vec<(String, u64)>> {
        let last = doc! { "$ifNull": ["$progress_at", { "$toDate": "$_id" }] };
        let stuck = is_before(last, self.limits.lease + ago);
        let by_kind = doc! { "$group": { "_id": "$kind", "count": { "$sum": 1_i64 } } };
        let tasks = self.master_collection::<Document>(schema::TASKS);
        let count = tasks
            .aggregate([doc! { "$match": stuck }, by_kind, doc! { "$sort": { "_id": 1 } }])
            .with_type::<StuckDoc>();
        let found: Vec<StuckDoc> =
            self.answer("task.stuck", async { count.await?.try_collect().await }).await?;
        Ok(found.into_iter().map(|stuck| (stuck.kind, stuck.count)).collect())
    }

    /// The end of a lease that starts now, by the database's clock, because the clocks of two
    /// servers may differ.
    fn lease_expression(&self) -> Document {
        doc! { "$add": ["$$NOW", millis(self.limits.lease)] }
    }

    /// Moves tasks that were recorded by releases before there was one collection for them all.
    pub(in crate::store) async fn adopt_old_tasks(&self) -> Result<()> {
        let adopted: [(&str, Bson); 2] = [
            ("operations", doc! { "exclusive": true }.into()),
            (
                "drains",
                doc! { "kind": { "$switch": { "branches": [
                    { "case": { "$eq": ["$of", "event"] }, "then": "cancel_event" },
                    { "case": { "$eq": ["$of", "occurrence"] }, "then": "cancel_occurrence" },
                ], "default": "release_member" } } }
                .into(),
            ),
        ];
        for (name, fields) in adopted {
            let old = self.master_collection::<Document>(name);
            let pipeline = [
                doc! { "$set": fields },
                doc! { "$set": { "owner": "$_id" } },
                doc! { "$merge": { "into": schema::TASKS, "whenMatched": "keepExisting" } },
            ];
            let moved = async {
                old.aggregate(pipeline).await?;
                old.drop().await
            };
            self.answer("task.adopt", moved).await?;
        }
        Ok(())
    }
}

const BUSY: Error = Error::Busy { what: "another change of the organization is running" };

/// A filter for documents whose time `at` is more than `ago` ago, by the database's clock.
pub(in crate::store) fn is_before(at: impl Into<Bson>, ago: Duration) -> Document {
    let then = doc! { "$subtract": ["$$NOW", millis(ago)] };
    doc! { "$expr": { "$lt": [at.into(), then] } }
}

pub(in crate::store) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<&Task> for TaskDoc {
    fn from(task: &Task) -> Self {
        let date = bson::DateTime::from_chrono;
        let uuid = |of: &TenantCollection| Binary {
            subtype: BinarySubtype::Uuid,
            bytes: of.uuid.to_vec(),
        };
        let work = match &task.work {
            Work::Rename { of, old_slug, new_name, new_slug, to } => WorkDoc::Rename {
                from: (&of.location).into(),
                collection: uuid(of),
                old_slug: old_slug.as_str().to_owned(),
                new_name: new_name.clone(),
                new_slug: new_slug.as_str().to_owned(),
                to: to.into(),
            },
            Work::Delete { of } => {
                WorkDoc::Delete { from: (&of.location).into(), collection: uuid(of) }
            }
            Work::CancelEvent(from) => {
                WorkDoc::CancelEvent { event: from.event.object_id(), start: date(from.start) }
            }
            Work::CancelOccurrence(id) => {
                WorkDoc::CancelOccurrence { event: id.event.object_id(), start: date(id.start) }
            }
            Work::ReleaseMember(member) => WorkDoc::ReleaseMember { member: member.object_id() },
            Work::PromoteWaiting(event) => WorkDoc::PromoteWaiting { event: event.object_id() },
        };
        Self { id: task.id.object_id(), org_id: task.org_id.object_id(), owner: task.owner, work }
    }
}

impl TryFrom<TaskDoc> for Task {
    type Error = StoreError;

    fn try_from(doc: TaskDoc) -> Result<Self, StoreError> {
        let of = |from: LocationDoc, collection: Binary| -> Result<_, StoreError> {
            let uuid = <[u8; 16]>::try_from(collection.bytes.as_slice())
                .map_err(|_| StoreError::undecodable("task", "its collection is not a UUID"))?;
            Ok(TenantCollection { location: from.into(), uuid })
        };
        let occurrence = |event: ObjectId, start: bson::DateTime| OccurrenceId {
            start: start.to_chrono(),
            event: event.into(),
        };
        let work = match doc.work {
            WorkDoc::Rename { from, collection, old_slug, new_name, new_slug, to } => {
                Work::Rename {
                    of: of(from, collection)?,
                    old_slug: Slug::from_stored(old_slug),
                    new_name,
                    new_slug: Slug::from_stored(new_slug),
                    to: to.into(),
                }
            }
            WorkDoc::Delete { from, collection } => Work::Delete { of: of(from, collection)? },
            WorkDoc::CancelEvent { event, start } => Work::CancelEvent(occurrence(event, start)),
            WorkDoc::CancelOccurrence { event, start } => {
                Work::CancelOccurrence(occurrence(event, start))
            }
            WorkDoc::ReleaseMember { member } => Work::ReleaseMember(member.into()),
            WorkDoc::PromoteWaiting { event } => Work::PromoteWaiting(event.into()),
        };
        let (id, org_id) = (doc.id.into(), doc.org_id.into());
        Ok(Self { id, org_id, work, leased: Instant::now(), owner: doc.owner })
    }
}
