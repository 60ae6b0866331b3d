//! What the database itself enforces: unique indexes of the master database, the clustered shape
//! and the validator of a tenant's collection.

use bson::{Bson, Document, doc};
use mongodb::{
    IndexModel,
    options::{ClusteredIndex, CreateCollectionOptions, IndexOptions},
};

/// The names of the master database's collections.
pub(super) const ORGANIZATIONS: &str = "organizations";
pub(super) const ACCOUNTS: &str = "accounts";
pub(super) const OPERATIONS: &str = "operations";
pub(super) const MASS_CANCELLATIONS: &str = "drains";

/// The unique indexes that make reservations atomic, by name; refusals are told apart by them.
pub(super) const SLUG_INDEX: &str = "slugs_unique";
pub(super) const EMAIL_INDEX: &str = "email_unique";
pub(super) const OPERATION_INDEX: &str = "org_unique";

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
        // Transactions write it, and they cannot make a collection.
        (MASS_CANCELLATIONS, vec![index(doc! { "lease_until": 1 }, "lease", false)]),
        (OPERATIONS, vec![index(doc! { "org_id": 1 }, OPERATION_INDEX, true)]),
    ]
}

/// The secondary indexes of a tenant with large charts. Only charts and employees have any of their
/// fields, and a sparse index holds no other document.
pub(super) fn team_indexes() -> [Document; 3] {
    [("manager", "manager"), ("ancestors", "ancestors"), ("employee", "_id.employee")].map(
        |(name, field)| doc! { "key": { "_id.chart": 1, field: 1 }, "name": name, "sparse": true },
    )
}

/// How a tenant's collection is made: clustered, so that it costs one file and no index.
pub(super) fn tenant_collection() -> CreateCollectionOptions {
    CreateCollectionOptions::builder()
        .clustered_index(ClusteredIndex::default())
        .validator(tenant_validator())
        .build()
}

/// Invariants alone, by kind: a full schema of every kind costs mongod far more memory per
/// collection, and types are Rust's business.
fn tenant_validator() -> Document {
    // Nobody is above themselves, and the last of those above is the manager.
    let last = doc! { "$ifNull": [{ "$last": "$ancestors" }, Bson::Null] };
    let hierarchy = doc! { "$and": [
        { "$not": { "$in": ["$_id.employee", "$ancestors"] } },
        { "$eq": ["$manager", last] },
    ] };
    let seats = doc! { "$and": [
        { "$gte": ["$seats_taken", 0] },
        { "$lte": ["$seats_taken", "$capacity"] },
    ] };
    // Busy times are in order, each ends behind its start and before the next one's.
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
