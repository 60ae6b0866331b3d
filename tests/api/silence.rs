//! Connections to the database that fall silent: every call ends within the patience, and the next
//! ones go through new connections.

use std::time::{Duration, Instant};

use bson::doc;
use chrono::{DateTime, Utc};

use serde_json::json;

use crate::support::{
    Chart, Client, Database, Event, Member, Org, PASSWORD, Reply, ServerProcess, SilencingProxy,
    ahead, eventually,
};

const PATIENCE: Duration = Duration::from_secs(2);

struct Stage {
    proxy: SilencingProxy,
    database: Database,
    server: ServerProcess,
    org: Org,
    admin: Client,
    members: Vec<Member>,
    chart: Chart,
    start: DateTime<Utc>,
    event: Event,
}

impl Stage {
    async fn set() -> Self {
        let database = Database::new().await;
        let proxy = SilencingProxy::start(&database).await;
        let milliseconds = PATIENCE.as_millis().to_string();
        let variables = [
            ("MONGO_URI", proxy.uri.as_str()),
            ("PATIENCE_MS", &milliseconds),
            ("TRANSACTION_DEADLINE_MS", &milliseconds),
        ];
        let server = ServerProcess::start_with(&database, &variables);
        let org = server.client.sign_up("Gym").await;
        let admin = server.client.with(&org.token);
        let members = database.add_members(&org, 40).await;
        let start = ahead(24);
        let event = Event::once(&admin, start, 1_000).await;
        let chart = Chart::create(&admin, "Staff").await;
        chart.hire("Chief", None).await;
        Self { proxy, database, server, org, admin, members, chart, start, event }
    }

    /// Opens many connections and silences them.
    async fn silence(&self) {
        let seats = self.members[..20].iter().map(|member| async {
            let seat = self.event.at(self.start);
            let word = member.at(&self.server.client).register_patiently(&seat).await;
            assert!(["done", "ALREADY_REGISTERED"].contains(&word.as_str()), "{word}");
            member.at(&self.server.client).get_org(&self.org.name).await.expect(200);
            self.chart.people().await;
        });
        futures::future::join_all(seats).await;
        self.proxy.silence();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.database.drop_all();
    }
}

/// Asks until the answer is another than 503, at most a few times, and each answer comes in time.
async fn recovers(what: &str, ask: impl AsyncFn() -> Reply) -> Reply {
    for _ in 0..4 {
        let asked = Instant::now();
        let reply = ask().await;
        let took = asked.elapsed();
        // Generous, because other tests keep the machine busy.
        assert!(took < PATIENCE * 4, "{what}: {reply:?} after {took:?}");
        let code = reply.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
        let busy = reply.status == 503 || ["busy", "database_unavailable"].contains(&code);
        if !busy {
            return reply;
        }
    }
    panic!("{what} does not recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_recover_from_silent_connections() {
    let stage = Stage::set().await;
    stage.silence().await;
    let seat = stage.event.at(stage.start);
    let client = stage.members[30].at(&stage.server.client);
    let query =
        format!(r#"mutation {{ register(occurrenceId: "{seat}") {{ refusal {{ code }} }} }}"#);
    let reply = recovers("a registration", async || client.graphql(&query, json!({})).await).await;
    let refusal = &reply.body["data"]["register"]["refusal"];
    // A commit whose answer was lost has come through.
    assert!(refusal.is_null() || refusal["code"] == "ALREADY_REGISTERED", "{reply:?}");
    let replaced = client.metric("tenantry_mongo_connections_replaced_total").await;
    assert!(replaced > 0, "{reply:?}");
    stage.database.seats(&stage.org).await.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_recovers_from_silent_connections() {
    let stage = Stage::set().await;
    let (admin, open) = (&stage.admin, &stage.server.client);
    let (people, tree) = (stage.chart.path("/employees"), stage.chart.path("/tree"));
    stage.silence().await;
    recovers("a tree", async || admin.get(&tree).await).await.expect(200);
    stage.silence().await;
    let hire = json!({ "name": "New", "title": "Hand", "manager_id": 1 });
    recovers("a hire", async || admin.post(&people, hire.clone()).await).await.expect(201);
    stage.silence().await;
    let email = &stage.org.email;
    recovers("a login", async || open.log_in(email, PASSWORD).await).await.expect(200);
    stage.silence().await;
    recovers("a list of members", async || admin.get("/org/members").await).await.expect(200);
    stage.silence().await;
    let created = recovers("a sign-up", async || open.create("Other", "o@example.com").await).await;
    // The first try may have come through.
    assert!([201, 409].contains(&created.status), "{created:?}");
    stage.silence().await;
    let renamed = recovers("a rename", async || admin.rename("Studio").await).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    admin.get_org("Studio").await.expect(200);
    eventually("a lively change stream", async || admin.get("/health/ready").await.status == 200)
        .await;
}

/// The command that renames the collection waits for a transaction when its connection falls silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_is_finished_although_its_connection_falls_silent() {
    let stage = Stage::set().await;
    let tasks = stage.database.master("tasks").await;
    let tenant = stage.database.tenant_of(&stage.org).await;
    let mut reading = tenant.client().start_session().await.unwrap();
    reading.start_transaction().await.unwrap();
    tenant.find_one(doc! {}).session(&mut reading).await.unwrap();

    let admin = stage.admin.clone();
    let renaming = tokio::spawn(async move { admin.rename("Studio").await });
    eventually("the recorded rename", || async {
        tasks.count_documents(doc! { "exclusive": true }).await.unwrap() > 0
    })
    .await;
    stage.proxy.silence();
    reading.abort_transaction().await.unwrap();
    stage.database.no_tasks().await;
    let renamed = recovers("a look-up", async || stage.admin.get_org("Studio").await).await;
    assert_eq!(renamed.expect(200).text("collection_name"), "org_studio");
    renaming.await.unwrap();
}
