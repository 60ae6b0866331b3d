//! Registrations by GraphQL, and the occurrences of the next thirty days. The floor is a bare
//! transaction with the same writes.
#![expect(clippy::print_stdout, reason = "prints progress")]

use std::sync::Arc;

use bson::{Document, doc, oid::ObjectId};
use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use mongodb::{Client, ClientSession, options::WriteConcern};
use serde_json::json;
use tenantry::{
    domain::{
        Clock, EventId, Label, SystemClock,
        scheduling::{OccurrenceId, TimeZone},
    },
    manager::{
        AdminContext, TenantManager,
        identity::{Login, LoginKind},
        scheduling::{EventInput, RecurrenceInput, ScheduleInput},
    },
};

use super::{
    Failure, Result,
    bench::Bench,
    client::{self, Connection},
    database::{self, Databases, PASSWORD, name_of},
    in_an_hour,
    load::{Limits, drive},
    server::Server,
};

/// Concurrent clients.
pub(crate) const CLIENTS: usize = 64;
/// Members per second of a measurement, because nobody registers twice.
const MEMBERS_PER_SECOND: u64 = 3_000;
const SEPARATE: u64 = 32;
const RECURRING: u64 = 1_000;
const READERS: usize = 4;
const AT_ONCE: usize = 16;
const RATE_GOAL: f64 = 1_500.0;
const P99_GOAL: f64 = 150.0;
const MONTH_GOAL: f64 = 50.0;

/// An organization with members and their tokens.
pub(crate) struct Stage {
    manager: Arc<TenantManager>,
    admin: AdminContext,
    admin_token: String,
    tokens: Vec<String>,
    /// The start of the next full day.
    day: DateTime<Utc>,
}

pub(crate) async fn run(bench: &mut Bench, server: &Server, databases: &Databases) -> Result<()> {
    let seconds = bench.load.window.as_secs().max(1);
    let stage = Stage::set(databases, seconds * MEMBERS_PER_SECOND).await?;
    let mut connections = Connection::open_many(server.address, CLIENTS).await?;
    // Reads as each member once, so that only registrations are measured and not first lookups.
    let members = u64::try_from(stage.tokens.len())?;
    let pass = Limits { window: std::time::Duration::from_mins(5), requests: members, first: 0 };
    drive(&mut connections, pass, async |connection, number| {
        connection.succeeds(graphql("{ organization { id } }", stage.token(number))).await
    })
    .await;

    let hot = vec![stage.event(1, 1_000_000).await?];
    let hot =
        stage.register(bench, server, "register: one hot occurrence, 64 clients", &hot).await?;
    let mut separate = Vec::new();
    for _ in 0..SEPARATE {
        separate.push(stage.event(2, 1_000_000).await?);
    }
    stage.register(bench, server, "register: 32 occurrences, 64 clients", &separate).await?;
    floor(bench, databases).await?;
    bench.report.at_least("registrations for one hot occurrence", hot.rate, RATE_GOAL);
    bench.report.below("p99 of registrations for one hot occurrence", hot.p99, P99_GOAL);

    let mixed = stage.event(3, 1_000_000).await?;
    let mut connections = Connection::open_many(server.address, CLIENTS).await?;
    let limits = Limits { requests: members, ..Limits::seconds(bench.load.window) };
    let sample = drive(&mut connections, limits, async |connection, number| {
        let token = stage.token(number);
        if number % 2 == 0 {
            return connection.succeeds(graphql(MY_REGISTRATIONS, token)).await;
        }
        try_register(connection, &mixed, token).await
    });
    bench.measure("register: alternating with own reads", Some(server), sample).await?;
    month(bench, server, &stage).await
}

/// Lists the occurrences of thirty days of a thousand recurring events.
async fn month(bench: &mut Bench, server: &Server, stage: &Stage) -> Result<()> {
    stream::iter(0..RECURRING)
        .map(|number| stage.recurring(number))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let (from, to) = (rfc3339(stage.day), rfc3339(stage.day + Duration::days(30)));
    let query = format!(
        "{{ occurrences(from: \"{from}\", to: \"{to}\", first: 100) {{
            edges {{ node {{ id startsAt seatsLeft event {{ title }} }} }} }} }}"
    );
    let mut readers = Connection::open_many(server.address, READERS).await?;
    let once = Limits { requests: 1, ..Limits::seconds(bench.load.window) };
    let ask_month = async |connection: &mut Connection, _| {
        connection.succeeds(graphql(&query, &stage.admin_token)).await
    };
    let cold = drive(&mut readers[..1], once, ask_month);
    bench.measure("30 days of 1,000 recurring events, cold", Some(server), cold).await?;
    let warm = drive(&mut readers, Limits::seconds(bench.load.window), ask_month);
    let warm = bench.measure("30 days of 1,000 recurring events, warm", Some(server), warm).await?;
    bench.report.below("p99 of 30 days, warm, 4 clients", warm.p99, MONTH_GOAL);
    Ok(())
}

impl Stage {
    pub(crate) async fn set(databases: &Databases, members: u64) -> Result<Self> {
        println!("an organization with {members} members");
        database::seed(databases, 1).await?;
        let (_, manager) = databases.manager().await?;
        let admin_token = log_in(&manager, &name_of(0)).await?;
        let admin = manager.authenticate(&admin_token).await?;
        let admin = admin.until(in_an_hour()).admin()?;
        add_members(databases, &admin, members).await?;
        let tokens = stream::iter(0..members)
            .map(|number| {
                let manager = Arc::clone(&manager);
                async move { log_in(&manager, &member_name(number)).await }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let today = SystemClock.now().date_naive().and_hms_opt(9, 0, 0).ok_or("no such time")?;
        let day = today.and_utc() + Duration::days(1);
        Ok(Self { manager, admin, admin_token, tokens, day })
    }

    pub(crate) fn token(&self, number: u64) -> &str {
        &self.tokens[usize::try_from(number).unwrap_or_default() % self.tokens.len()]
    }

    /// Creates a one-hour event `days` days ahead.
    pub(crate) async fn event(&self, days: i64, capacity: i64) -> Result<OccurrenceId> {
        let start = self.day + Duration::days(days);
        let id = self.create(start, capacity, None).await?;
        Ok(OccurrenceId { start, event: id })
    }

    /// Creates a weekly event at a day and hour that depend on `number`.
    async fn recurring(&self, number: u64) -> Result<EventId> {
        let hours = Duration::hours(i64::try_from(number % 168)?);
        let rule = Some("FREQ=WEEKLY".to_owned());
        let recurrence = RecurrenceInput { rule, ..RecurrenceInput::default() };
        self.create(self.day + hours - Duration::days(700), 20, Some(recurrence)).await
    }

    async fn create(
        &self,
        start: DateTime<Utc>,
        capacity: i64,
        recurrence: Option<RecurrenceInput>,
    ) -> Result<EventId> {
        let input = EventInput {
            title: Label::parse("Yoga")?,
            description: None,
            capacity,
            schedule: ScheduleInput {
                start: Some(start.naive_utc()),
                zone: Some(TimeZone::parse("UTC")?),
                minutes: Some(60),
                recurrence: Some(recurrence),
            },
        };
        Ok(self.manager.event_create(&self.admin, input).await?.id)
    }

    /// Registers each member once, alternating between the occurrences.
    async fn register(
        &self,
        bench: &mut Bench,
        server: &Server,
        what: &str,
        occurrences: &[OccurrenceId],
    ) -> Result<super::report::Figures> {
        let mut connections = Connection::open_many(server.address, CLIENTS).await?;
        let limits = Limits {
            requests: u64::try_from(self.tokens.len())?,
            ..Limits::seconds(bench.load.window)
        };
        let sample = drive(&mut connections, limits, async |connection, number| {
            let which = usize::try_from(number).unwrap_or_default() % occurrences.len();
            try_register(connection, &occurrences[which], self.token(number)).await
        });
        bench.measure(what, Some(server), sample).await
    }
}

const MY_REGISTRATIONS: &str =
    "{ myRegistrations(first: 20) { edges { node { id status occurrence { startsAt } } } } }";

/// Registers the member; returns whether that succeeded.
pub(crate) async fn try_register(
    connection: &mut Connection,
    occurrence: &OccurrenceId,
    token: &str,
) -> bool {
    let query = format!(
        "mutation {{ register(occurrenceId: \"{occurrence}\") {{ registration {{ id }} }} }}"
    );
    let Ok(request) = graphql(&query, token) else { return false };
    let reply = connection.json(request).await;
    reply.is_ok_and(|reply| reply["data"]["register"]["registration"]["id"].is_string())
}

fn graphql(query: &str, token: &str) -> Result<Request<Full<Bytes>>> {
    client::post_as("/graphql", token, &json!({ "query": query }))
}

async fn log_in(manager: &Arc<TenantManager>, name: &str) -> Result<String> {
    let login = Login {
        email: format!("{name}@example.com"),
        password: PASSWORD.to_owned(),
        address: [127, 0, 0, 1].into(),
    };
    Ok(manager.log_in(login, LoginKind::Any).await?.token)
}

fn member_name(number: u64) -> String {
    format!("member_{number}")
}

/// Inserts members with the admin's password directly into the database.
#[expect(clippy::disallowed_methods, reason = "a million sign-ups would measure something else")]
async fn add_members(databases: &Databases, admin: &AdminContext, members: u64) -> Result<()> {
    let driver = databases.driver().await?;
    let accounts = driver.database(&databases.master).collection::<Document>("accounts");
    let own = doc! { "_id": admin.account_id().object_id() };
    let model = accounts.find_one(own).await?.ok_or("there is no admin")?;
    let documents: Vec<Document> = (0..members)
        .map(|number| {
            let mut account = model.clone();
            account.insert("_id", ObjectId::new());
            account.insert("email", format!("{}@example.com", member_name(number)));
            account.insert("role", "member");
            account
        })
        .collect();
    for some in documents.chunks(10_000) {
        accounts.insert_many(some).await?;
    }
    Ok(())
}

/// The writes of a registration in a transaction without conflicts.
async fn floor(bench: &mut Bench, databases: &Databases) -> Result<()> {
    let driver = databases.driver().await?;
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        sessions.push(driver.start_session().await?);
    }
    let limits = Limits::seconds(bench.load.window);
    let sample = drive(&mut sessions, limits, async |session, number| {
        write(&driver, session, databases, number).await.is_ok()
    });
    let what = "  floor: transaction of the bare driver, no conflict";
    bench.measure(what, None, sample).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the floor uses the driver without the store")]
async fn write(
    driver: &Client,
    session: &mut ClientSession,
    databases: &Databases,
    number: u64,
) -> Result<()> {
    let documents = driver.database(&databases.tenants).collection::<Document>("floor");
    let number = i64::try_from(number)?;
    session.start_transaction().write_concern(WriteConcern::majority()).await?;
    let kinds = ["registration", "attendee", "calendar"];
    let new = kinds.map(|kind| doc! { "_id": { "kind": kind, "number": number } });
    documents.insert_many(new).session(&mut *session).await?;
    session.commit_transaction().await.map_err(Failure::from)
}

fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
