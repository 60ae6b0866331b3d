//! What the database itself enforces: the indexes of the master database, and the clustered index
//! and validator of tenant collections.

use bson::{Bson, Document, doc};
use mongodb::{
    IndexModel,
    options::{ClusteredIndex, CreateCollectionOptions, IndexOptions},
};

/// The names of the master database's collections.
pub(super) const ORGANIZATIONS: &str = "organizations";
pub(super) const ACCOUNTS: &str = "accounts";
pub(super) const TASKS: &str = "tasks";
pub(super) const SPARE_EDITIONS: &str = "spare_editions";

/// The names of the unique indexes that make reservations atomic; a duplicate key error names one.
pub(super) const SLUG_INDEX: &str = "slugs_unique";
pub(super) const EMAIL_INDEX: &str = "email_unique";
pub(super) const TASK_INDEX: &str = "org_unique";

/// The indexes of the master database, by collection.
pub(super) fn master_indexes() -> [(&'static str, Vec<IndexModel>); 4] {
    [
        (ORGANIZATIONS, vec![index(doc! { "slugs": 1 }, SLUG_INDEX, true)]),
        (
            ACCOUNTS,
            vec![
                index(doc! { "email": 1 }, EMAIL_INDEX, true),
                index(doc! { "org_id": 1, "_id": 1 }, "org_accounts", false),
                feed_index(),
            ],
        ),
        // These indexes also create the collections, which the transactions that write them cannot do.
        (TASKS, vec![index(doc! { "lease_until": 1 }, "lease", false), exclusive_index()]),
        (SPARE_EDITIONS, vec![index(doc! { "lease_until": 1 }, "lease", false)]),
    ]
}

/// The number of secondary indexes for large charts.
pub(super) const TEAM_INDEXES: usize = 3;

/// The secondary indexes of a tenant with large charts. They are sparse, so they contain only
/// charts and employees; no other document has any of these fields.
pub(super) fn team_indexes() -> [Document; TEAM_INDEXES] {
    [("manager", "manager"), ("ancestors", "ancestors"), ("employee", "_id.employee")].map(
        |(name, field)| doc! { "key": { "_id.chart": 1, field: 1 }, "name": name, "sparse": true },
    )
}

/// The options of a tenant's collection: clustered, so that it needs one file and no index.
pub(super) fn tenant_collection() -> CreateCollectionOptions {
    CreateCollectionOptions::builder()
        .clustered_index(ClusteredIndex::default())
        .validator(tenant_validator())
        .build()
}

/// Checks only invariants, by kind: a full schema of every kind would cost mongod far more memory
/// per collection, and Rust checks the types.
fn tenant_validator() -> Document {
    // Employees are not their own ancestors, and the last ancestor is the manager.
    let last = doc! { "$ifNull": [{ "$last": "$ancestors" }, Bson::Null] };
    let hierarchy = doc! { "$and": [
        { "$not": { "$in": ["$_id.employee", "$ancestors"] } },
        { "$eq": ["$manager", last] },
    ] };
    let seats = doc! { "$and": [
        { "$gte": ["$seats_taken", 0] },
        { "$lte": ["$seats_taken", "$capacity"] },
    ] };
    // Busy times are sorted and do not overlap, and each ends after its start.
    let in_order = doc! { "$and": [
        "$$value.good",
        { "$lt": ["$$this.start", "$$this.end"] },
        { "$lte": ["$$value.end", "$$this.start"] },
    ] };
    let calendar = doc! { "$getField": { "field": "good", "input": { "$reduce": {
        "input": "$busy",
        "initialValue": { "good": true, "end": Bson::MinKey },
        "in": { "good": in_order, "end": "$$this.end" },
    } } } };
    doc! { "$expr": { "$switch": {
        "branches": [
            { "case": { "$eq": ["$_id.kind", "employee"] }, "then": hierarchy },
            { "case": { "$eq": ["$_id.kind", "occurrence"] }, "then": seats },
            { "case": { "$eq": ["$_id.kind", "calendar"] }, "then": calendar },
            { "case": { "$eq": ["$_id.kind", "chart"] }, "then": { "$gte": ["$employee_count", 0] } },
            { "case": { "$eq": ["$_id.kind", "tenant"] }, "then": { "$gte": ["$charts", 0] } },
        ],
        "default": true,
    } } }
}

fn index(keys: Document, name: &str, unique: bool) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).unique(unique).build();
    IndexModel::builder().keys(keys).options(options).build()
}

/// Only accounts with a calendar feed have the field.
fn feed_index() -> IndexModel {
    let options = IndexOptions::builder().name("feed_unique".to_owned()).unique(true).sparse(true);
    IndexModel::builder().keys(doc! { "feed_hash": 1 }).options(options.build()).build()
}

/// At most one exclusive task of an organization.
fn exclusive_index() -> IndexModel {
    let options = IndexOptions::builder()
        .name(TASK_INDEX.to_owned())
        .unique(true)
        .partial_filter_expression(doc! { "exclusive": true });
    IndexModel::builder().keys(doc! { "org_id": 1 }).options(options.build()).build()
}
