//! Creates many members at once.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use tenantry::{
    auth::{Keys, TokenIssuer, TokenSettings},
    config::Settings,
    domain::{AccountId, Clock, SystemClock, identity::Role, scheduling::OccurrenceId},
};

use super::{Client, Database, Org, SECRET, unique};

/// A member of an organization.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub token: String,
}

impl Member {
    /// The member's client of a server.
    pub fn at(&self, server: &Client) -> Client {
        server.with(&self.token)
    }
}

impl Database {
    /// Inserts members directly into the database, and issues their tokens. Thousands of requests
    /// would take longer than the tests themselves.
    pub async fn add_members(&self, org: &Org, count: usize) -> Vec<Member> {
        let admin = org.admin_id.parse().unwrap();
        let admin = self.store().await.account(admin).await.unwrap().unwrap();
        let accounts = self.master("accounts").await;
        let own = doc! { "_id": admin.id.object_id() };
        let model = accounts.find_one(own).await.unwrap().unwrap();
        let (issuer, now) = (issuer(), SystemClock.now());
        let (mut documents, mut members) = (Vec::<Document>::new(), Vec::new());
        for _ in 0..count {
            let mut account = admin.clone();
            (account.id, account.role) = (AccountId::generate(), Role::Member);
            let mut document = model.clone();
            document.insert("_id", account.id.object_id());
            document.insert("email", format!("{}@example.com", unique("crowd")));
            document.insert("role", account.role.as_ref());
            documents.push(document);
            let token = issuer.issue(&account, now).unwrap();
            members.push(Member { id: account.id.to_string(), token });
        }
        accounts.insert_many(documents).await.unwrap();
        members
    }
}

/// The token issuer of test servers.
fn issuer() -> TokenIssuer {
    let jwt = Settings::load(|_| None).unwrap().jwt;
    TokenIssuer::new(TokenSettings {
        keys: Keys::Hs256 { secret: SECRET.to_owned().into(), previous: None },
        issuer: jwt.issuer,
        audience: jwt.audience,
        lifetime: Duration::from_hours(1),
    })
    .unwrap()
}

impl Database {
    /// Gives all members a seat by copying the documents of the first one, who registered before.
    pub async fn seat_all(&self, org: &Org, occurrence: &str, members: &[Member]) {
        let tenant = self.tenant_of(org).await;
        let id = |member: &Member| ObjectId::parse_str(&member.id).unwrap();
        let event = occurrence.parse::<OccurrenceId>().unwrap().event.object_id();
        let mut documents = Vec::new();
        for (kind, field) in
            [("registration", "_id.event"), ("attendee", "_id.event"), ("calendar", "busy.event")]
        {
            let filter = doc! { "_id.kind": kind, "_id.member": id(&members[0]), field: event };
            let model = tenant.find_one(filter).await.unwrap().unwrap();
            documents.extend(members[1..].iter().map(|member| {
                let mut document = model.clone();
                document.get_document_mut("_id").unwrap().insert("member", id(member));
                document
            }));
        }
        tenant.insert_many(documents).await.unwrap();
        let place = doc! { "_id.kind": "occurrence", "_id.event": event, "seats_taken": 1 };
        let taken = i64::try_from(members.len()).unwrap();
        let set = doc! { "$set": { "seats_taken": taken } };
        assert_eq!(tenant.update_one(place, set).await.unwrap().modified_count, 1);
    }
}
