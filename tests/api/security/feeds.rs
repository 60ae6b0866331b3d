//! Attacks on calendar feeds, which need no token: endless polls and unread answers.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::{doc, oid::ObjectId};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use tenantry::{
    error::Error,
    manager::{
        TenantManager,
        scheduling::{Feed, FeedItem, Poll},
    },
};
use tokio::time::{Instant, timeout};

use crate::support::{
    Client, Database, Event, Org, Raw, Reply, ServerProcess, TestApp, Watch, ahead, eventually,
};

const SEATS: i64 = 720;
/// Characters of four bytes each, 40 KB in total.
const LONG: usize = 10_000;
const POLLS: usize = 64;

/// An admin with seats at many events with the longest description, and the path of the feed. All
/// but the first event are copied in the database, because requests would take a minute.
async fn large_feed(client: &Client, database: &Database) -> (Client, Event, String) {
    let org = client.sign_up("Gym").await;
    let admin = client.with(&org.token);
    let start = ahead(24);
    let event = json!({
        "title": "Yoga", "description": "🧘".repeat(LONG),
        "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(),
    });
    let event = Event::create(&admin, event).await;
    admin.register(&event.at(start)).await.registration();
    copy(database, &org).await;
    let path = admin.calendar_feed().await;
    (admin, event, path)
}

async fn copy(database: &Database, org: &Org) {
    let tenant = database.tenant_of(org).await;
    let model = |kind: &str| tenant.find_one(doc! { "_id.kind": kind });
    let (event, seat) = (model("event").await.unwrap(), model("registration").await.unwrap());
    let (event, seat) = (event.unwrap(), seat.unwrap());
    let start = seat.get_document("_id").unwrap().get_datetime("start").unwrap();
    let end = seat.get_datetime("ends_at").unwrap();
    let mut documents = Vec::new();
    for number in 1..SEATS {
        let later = |moment: &bson::DateTime| {
            bson::DateTime::from_millis(moment.timestamp_millis() + number * 3_600_000)
        };
        let id = ObjectId::new();
        let (mut event, mut seat) = (event.clone(), seat.clone());
        event.get_document_mut("_id").unwrap().insert("event", id);
        let key = seat.get_document_mut("_id").unwrap();
        key.insert("event", id);
        key.insert("start", later(start));
        seat.insert("ends_at", later(end));
        documents.extend([event, seat]);
    }
    tenant.insert_many(documents).await.unwrap();
}

fn entries(feed: &Reply) -> usize {
    assert_eq!(feed.status, 200, "{feed:?}");
    feed.body.as_str().unwrap().matches("BEGIN:VEVENT").count()
}

#[tokio::test]
async fn many_unread_polls_of_a_large_feed_need_little_memory_and_delay_nobody() {
    let database = Database::new().await;
    let unlimited = [("CALENDAR_POLLS_PER_MINUTE", "0"), ("WRITE_TIMEOUT_SECONDS", "600")];
    let server = ServerProcess::start_with(&database, &unlimited);
    let client = &server.client;
    let (_, event, path) = large_feed(client, &database).await;

    let watch = Watch::start(&server).await;
    let mut unread = Vec::new();
    for round in 0..4 {
        // The event changes, so caches do not help.
        event.update(json!({ "title": format!("Yoga {round}") })).await.done("event");
        for _ in 0..POLLS / 4 {
            let poll = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            unread.push(Raw::sending(client, poll.as_bytes()).await);
        }
        for raw in &unread {
            raw.stream.readable().await.unwrap();
        }
    }
    for raw in &mut unread {
        let answer = raw.until("\r\n").await;
        assert!(answer.contains(" 200 "), "{answer}");
    }
    watch.assert_unharmed().await;
    database.drop_all();
}

#[tokio::test]
async fn a_feed_is_bounded_in_entries_and_in_bytes() {
    let app = TestApp::start().await;
    let (_, _, path) = large_feed(&app, &app.database).await;
    let feed = app.get(&path).await;
    assert_eq!(entries(&feed), usize::try_from(SEATS).unwrap());
    let text = feed.body.as_str().unwrap();
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    let unfolded = text.replace("\r\n ", "");
    let descriptions = unfolded.lines().filter_map(|line| line.strip_prefix("DESCRIPTION:"));
    for description in descriptions {
        assert!(description.starts_with("🧘") && description.ends_with('…'), "{description}");
        assert!(description.len() > 500, "{} bytes", description.len());
    }
}

#[tokio::test]
async fn an_unchanged_feed_is_not_sent_again() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let path = admin.calendar_feed().await;
    let poll = async |tags: &str| {
        let request = app.request(Method::GET, &path).header(header::IF_NONE_MATCH, tags);
        Client::send(request).await
    };
    let tag = |reply: &Reply| reply.headers[header::ETAG].to_str().unwrap().to_owned();

    let empty = app.get(&path).await.expect(200);
    let first = tag(&empty);
    assert_eq!(empty.headers[header::CACHE_CONTROL], "private, no-cache");
    for tags in [first.as_str(), "*", &format!("\"x\", {first}"), first.trim_start_matches("W/")] {
        let same = poll(tags).await.expect(StatusCode::NOT_MODIFIED.as_u16());
        assert_eq!((tag(&same), same.body), (first.clone(), json!("")));
    }
    for tags in ["\"x\"", "W/\"x\"", "nonsense", ""] {
        assert_eq!(entries(&poll(tags).await), 0);
    }

    let start = ahead(24);
    let event = Event::once(&admin, start, 5).await;
    let seat = admin.register(&event.at(start)).await.registration();
    let current = poll(&first).await;
    assert_eq!(entries(&current), 1);
    event.update(json!({ "title": "Stretching" })).await.done("event");
    let renamed = poll(&tag(&current)).await;
    assert!(renamed.body.as_str().unwrap().contains("SUMMARY:Stretching"));
    admin.cancel(&seat).await.done("registration");
    assert_eq!(entries(&poll(&tag(&renamed)).await), 0);
    // A revoked address answers 404 even if the client has the current feed.
    admin.query("mutation { revokeCalendarFeed }", json!({})).await;
    poll("*").await.refused(404, "not_found");
}

#[tokio::test]
async fn polls_are_limited_per_feed_and_minute_without_affecting_other_feeds() {
    let app = TestApp::start_with(|settings| settings.throttle.calendar_polls_per_minute = 5).await;
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let path = admin.calendar_feed().await;
    let polls = futures::future::join_all((0..20).map(|_| app.get(&path))).await;
    let good = polls.iter().filter(|reply| reply.status == 200).count();
    let refused = polls.iter().filter(|reply| reply.body["code"] == "too_many_attempts").count();
    assert_eq!((good, refused), (5, 15));
    app.get(&path).await.refused(429, "too_many_attempts");

    let (_, token) = admin.add_member("member").await;
    app.get(&app.with(&token).calendar_feed().await).await.expect(200);
}

#[tokio::test]
async fn guessing_feed_addresses_is_stopped_without_affecting_existing_feeds() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let path = app.with(&org.token).calendar_feed().await;
    app.get(&path).await.expect(200);
    let mut stopped = None;
    for number in 0..1_000 {
        // Malformed addresses cost nothing and do not count.
        app.get(&format!("/calendar/{number}.ics")).await.refused(404, "not_found");
        let guess = format!("/calendar/{number:042}A.ics");
        let reply = app.get(&guess).await;
        if reply.status == 429 {
            stopped = Some(number);
            break;
        }
        assert_eq!(reply.status, 404, "{reply:?}");
    }
    assert!(stopped.is_some_and(|number| number >= 500), "{stopped:?}");
    app.get(&path).await.expect(200);
    let others = app.from([127, 0, 0, 2].into());
    others.get(&path).await.expect(200);
}

/// Blocks the rendering of feeds until it opens; each test has its own.
struct Gate {
    waiting: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), open: Mutex::new(false), opened: Condvar::new() }
    }

    fn wait(&self) -> Vec<u8> {
        self.waiting.fetch_add(1, SeqCst);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(open, |open| !*open));
        Vec::new()
    }
}

/// Opens the gate when dropped, so that no thread waits forever if the test fails.
struct Opening(&'static Gate);

impl Drop for Opening {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.opened.notify_all();
    }
}

async fn poll(
    manager: &TenantManager,
    path: &str,
    render: fn(Vec<FeedItem>) -> Vec<u8>,
) -> Result<Feed, Error> {
    let token = path.trim_start_matches("/calendar/").trim_end_matches(".ics");
    let address = [127, 0, 0, 1].into();
    manager.feed(Poll { token, address, knows: &|_| false, render }).await
}

/// A poll whose client disconnects during rendering, or after `within`; whether rendering started.
async fn poll_and_go(
    app: &TestApp,
    gate: &Gate,
    path: &str,
    render: fn(Vec<FeedItem>) -> Vec<u8>,
    within: Duration,
) -> bool {
    let before = gate.waiting.load(SeqCst);
    let made = eventually("the rendering", || async { gate.waiting.load(SeqCst) > before });
    tokio::select! {
        _ = poll(&app.manager, path, render) => false,
        made = timeout(within, made) => made.is_ok(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_polls_of_one_organization_do_not_block_others() {
    static GATE: Gate = Gate::new();
    let app = TestApp::start().await;
    let (gym, club) = (app.sign_up("Gym").await, app.sign_up("Club").await);
    let admin = app.with(&gym.token);
    let others = app.with(&club.token).calendar_feed().await;
    let _opening = Opening(&GATE);
    for _ in 0..6 {
        let (_, token) = admin.add_member("member").await;
        let path = app.with(&token).calendar_feed().await;
        // Only the first poll may render. More time would not change that.
        poll_and_go(&app, &GATE, &path, |_| GATE.wait(), Duration::from_millis(300)).await;
    }
    let read = timeout(Duration::from_secs(10), poll(&app.manager, &others, |_| Vec::new())).await;
    assert!(read.is_ok_and(|feed| feed.is_ok()), "one organization uses all rendering slots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_waits_for_its_turn_and_a_slot_within_one_patience() {
    static GATE: Gate = Gate::new();
    let patience = Duration::from_secs(4);
    let app = TestApp::start_with(|settings| settings.operations.patience_ms = 4_000).await;
    let org = app.sign_up("Gym").await;
    let (mine, admin) = (app.with(&org.token).calendar_feed().await, app.with(&org.token));
    let (_, token) = admin.add_member("member").await;
    let second = app.with(&token).calendar_feed().await;
    let _opening = Opening(&GATE);
    for name in ["One", "Two", "Three", "Four"] {
        let other = app.sign_up(name).await;
        let path = app.with(&other.token).calendar_feed().await;
        let long = Duration::from_secs(20);
        assert!(poll_and_go(&app, &GATE, &path, |_| GATE.wait(), long).await);
    }
    let wait = async |path: &str| {
        let started = Instant::now();
        let refused = poll(&app.manager, path, |_| Vec::new()).await.is_err();
        assert!(refused, "a rendering slot was free");
        started.elapsed()
    };
    let later = async {
        tokio::time::sleep(patience / 2).await;
        wait(&second).await
    };
    let (first, later) = tokio::join!(wait(&mine), later);
    // With separate patience for turn and slot, the second poll would wait 1.5 times as long.
    assert!(later < first.mul_f64(1.4), "the first waited for {first:?}, the second for {later:?}");
}
