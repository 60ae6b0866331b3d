//! Calendar feeds, parsed as calendar programs do.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use reqwest::{Method, header};
use serde_json::json;

use crate::support::{Client, Event, PASSWORD, Reply, TestApp, ahead};

/// The properties of an entry by name, unfolded and still escaped.
type Entry = BTreeMap<String, String>;

/// The entries of a feed. Asserts that lines end with CRLF, have at most 75 bytes, and contain no
/// other line breaks.
#[track_caller]
fn entries(feed: &Reply) -> Vec<Entry> {
    assert_eq!(feed.status, 200, "{feed:?}");
    assert_eq!(feed.headers[header::CONTENT_TYPE], "text/calendar; charset=utf-8");
    let text = feed.body.as_str().unwrap();
    let body = text.strip_suffix("\r\n").expect("the last line does not end with CRLF");
    for line in body.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "a line break inside: {line:?}");
        assert!(line.len() <= 75, "{} bytes: {line}", line.len());
        assert!(!line.is_empty(), "an empty line");
    }
    let unfolded = body.replace("\r\n ", "");
    let mut lines = unfolded.split("\r\n").peekable();
    assert_eq!(lines.next(), Some("BEGIN:VCALENDAR"));
    let head: Vec<&str> =
        std::iter::from_fn(|| lines.next_if(|line| !line.contains("VEVENT"))).collect();
    assert!(head.contains(&"VERSION:2.0"), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("PRODID:")), "{head:?}");
    let mut entries = Vec::new();
    while lines.next_if_eq(&"BEGIN:VEVENT").is_some() {
        let mut entry = Entry::new();
        for line in std::iter::from_fn(|| lines.next_if(|line| *line != "END:VEVENT")) {
            let (name, value) = line.split_once(':').expect("a line without a property");
            let twice = entry.insert(name.to_owned(), value.to_owned());
            assert!(twice.is_none(), "{name} appears twice");
        }
        assert_eq!(lines.next(), Some("END:VEVENT"));
        entries.push(entry);
    }
    let last = if entries.is_empty() { head.last().copied() } else { lines.next() };
    assert_eq!((last, lines.next()), (Some("END:VCALENDAR"), None));
    entries
}

/// Unescapes a text.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => plain.push('\n'),
                Some(c @ ('\\' | ',' | ';')) => plain.push(c),
                other => panic!("\\{other:?} is not an escape: {text}"),
            },
            ',' | ';' => panic!("{c} is not escaped: {text}"),
            c => plain.push(c),
        }
    }
    plain
}

fn utc(moment: DateTime<Utc>) -> String {
    moment.format("%Y%m%dT%H%M%SZ").to_string()
}

/// An admin, and a member's client with the path of the member's feed.
async fn subscriber(app: &TestApp) -> (Client, Client, String) {
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let (_, token) = admin.add_member("member").await;
    let member = app.with(&token);
    let path = member.calendar_feed().await;
    (admin, member, path)
}

#[tokio::test]
async fn a_feed_shows_the_members_own_seats_in_utc() {
    let app = TestApp::start().await;
    let (admin, member, path) = subscriber(&app).await;
    assert_eq!(entries(&app.get(&path).await), []);

    // 8:45 in Kathmandu, which is 5:45 ahead of UTC.
    let day = (ahead(24 * 10)).format("%Y-%m-%d").to_string();
    let event = json!({ "startsAt": format!("{day}T08:45:00"), "timeZone": "Asia/Kathmandu",
        "durationMinutes": 95, "title": "Yoga", "recurrence": { "frequency": "DAILY" } });
    let event = Event::create(&admin, event).await;
    let start: DateTime<Utc> = format!("{day}T03:00:00Z").parse().unwrap();
    let seats = [start, start + Duration::days(1), start + Duration::days(700)];
    for seat in seats.iter().rev() {
        member.register(&event.at(*seat)).await.registration();
    }
    // Seats of others and events too far in the future are not shown.
    admin.register(&event.at(start + Duration::days(2))).await.registration();
    member.register(&event.at(start + Duration::days(740))).await.registration();

    let shown = entries(&app.get(&path).await);
    assert_eq!(shown.len(), 3, "{shown:?}");
    for (entry, seat) in shown.iter().zip(seats) {
        assert_eq!(entry["DTSTART"], utc(seat));
        assert_eq!(entry["DTEND"], utc(seat + Duration::minutes(95)));
        assert_eq!(entry["SUMMARY"], "Yoga");
        assert_eq!(entry["STATUS"], "CONFIRMED");
        assert!(entry["UID"].contains(&event.at(seat)), "{entry:?}");
        assert!(entry["DTSTAMP"].ends_with('Z'), "{entry:?}");
        assert!(!entry.contains_key("DESCRIPTION"), "{entry:?}");
    }
    // A second request gets the same feed.
    assert_eq!(entries(&app.get(&path).await), shown);
}

#[tokio::test]
async fn text_is_escaped_and_long_lines_are_folded() {
    let app = TestApp::start().await;
    let (admin, member, path) = subscriber(&app).await;
    let title = "Yoga, Pilates; \"Zumba\" \\ back\\slash: 🧘🏽 für Anfänger";
    let description = format!(
        "Bring:\n- a mat;\n- water, please\n\nEND:VEVENT\nBEGIN:VEVENT\n\\n is no break 🧘🏽‍♀️ {}",
        "老虎🐯 ".repeat(400)
    );
    let events = [
        json!({ "title": title, "description": description }),
        json!({ "title": "x".repeat(128), "description": "y".repeat(10_000) }),
        json!({ "title": "Lines", "description": "one\r\ntwo\rEND:VEVENT\rthree\tfour" }),
    ];
    let mut start = ahead(24);
    for event in &events {
        let mut event = event.clone();
        event["startsAt"] = json!(start.format("%Y-%m-%dT%H:%M:%S").to_string());
        let made = Event::create(&admin, event).await;
        member.register(&made.at(start)).await.registration();
        start += Duration::hours(1);
    }
    let shown = entries(&app.get(&path).await);
    let texts: Vec<(String, String)> =
        shown.iter().map(|e| (unescaped(&e["SUMMARY"]), unescaped(&e["DESCRIPTION"]))).collect();
    assert_eq!(texts[0], (title.to_owned(), description.trim().to_owned()));
    assert_eq!(texts[1], ("x".repeat(128), "y".repeat(10_000)));
    assert_eq!(texts[2].1, "one\ntwo\nEND:VEVENT\nthree\tfour");
    assert_eq!(texts.len(), 3);
}

#[tokio::test]
async fn cancelled_seats_disappear_and_changed_events_are_updated() {
    let app = TestApp::start().await;
    let (admin, member, path) = subscriber(&app).await;
    let start = ahead(24);
    let mut held = Vec::new();
    for hour in 0..4 {
        let start = start + Duration::hours(hour);
        let event = Event::once(&admin, start, 5).await;
        held.push((member.register(&event.at(start)).await.registration(), event, start));
    }
    let titles = || async {
        let shown = entries(&app.get(&path).await);
        shown.iter().map(|entry| entry["SUMMARY"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(titles().await.len(), 4);
    held[0].1.update(json!({ "title": "Stretching" })).await.done("event");
    assert_eq!(titles().await, ["Stretching", "Yoga", "Yoga", "Yoga"]);
    member.cancel(&held[0].0).await.done("registration");
    assert_eq!(titles().await, ["Yoga"; 3]);
    held[1].1.cancel_occurrence(&held[1].1.at(held[1].2)).await;
    assert_eq!(titles().await, ["Yoga"; 2]);
    held[2].1.delete(true).await.done("deletedId");
    assert_eq!(titles().await, ["Yoga"]);
    member.register(&held[0].1.at(held[0].2)).await.registration();
    assert_eq!(titles().await, ["Stretching", "Yoga"]);
}

#[tokio::test]
async fn a_feed_address_works_until_it_is_replaced_or_revoked() {
    let app = TestApp::start().await;
    let (admin, member, first) = subscriber(&app).await;
    let others = admin.calendar_feed().await;
    let second = member.calendar_feed().await;
    assert_ne!(first, second);
    app.get(&first).await.refused(404, "not_found");
    entries(&app.get(&second).await);
    let revoke = "mutation { revokeCalendarFeed }";
    assert_eq!(member.query(revoke, json!({})).await["revokeCalendarFeed"], true);
    app.get(&second).await.refused(404, "not_found");
    // A repeated revocation is harmless and affects no other feed.
    assert_eq!(member.query(revoke, json!({})).await["revokeCalendarFeed"], true);
    entries(&app.get(&others).await);
    let third = member.calendar_feed().await;
    entries(&app.get(&third).await);
    app.get(&first).await.refused(404, "not_found");
}

#[tokio::test]
async fn an_unknown_feed_address_is_a_404() {
    let app = TestApp::start().await;
    let (_, _, path) = subscriber(&app).await;
    for unknown in [
        "/calendar/x.ics",
        "/calendar/.ics",
        "/calendar/",
        "/calendar/%00.ics",
        "/calendar/..%2F..%2Fmetrics.ics",
        &format!("/calendar/{}.ics", "A".repeat(43)),
        &format!("/calendar/{}.ics", "é".repeat(2_000)),
        &path.replace(".ics", ""),
        &path.replace(".ics", ".ICS"),
        &format!("{path}.ics"),
        &path.to_uppercase(),
    ] {
        app.get(unknown).await.refused(404, "not_found");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = Client::send(app.request(method, &path)).await;
        let refused = refused.refused(405, "method_not_allowed");
        assert!(refused.headers["allow"].to_str().unwrap().contains("GET"));
    }
    entries(&app.get(&path).await);
}

#[tokio::test]
async fn a_feed_survives_a_rename_and_ends_with_its_member() {
    let app = TestApp::start().await;
    let org = app.sign_up("Before").await;
    let admin = app.with(&org.token);
    let (id, token) = admin.add_member("member").await;
    let path = app.with(&token).calendar_feed().await;
    let admins = admin.calendar_feed().await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 5).await;
    app.with(&token).register(&event.at(start)).await.registration();
    admin.rename("After").await.expect(200);
    assert_eq!(entries(&app.get(&path).await).len(), 1);
    // The feed depends on its secret address, not on the password.
    let password = json!({ "password": format!("{PASSWORD} two") });
    admin.patch(&format!("/org/members/{id}"), password).await.expect(200);
    assert_eq!(entries(&app.get(&path).await).len(), 1);

    admin.delete(&format!("/org/members/{id}")).await.expect(200);
    app.get(&path).await.refused(404, "not_found");
    entries(&app.get(&admins).await);
    admin.delete_org("After").await.expect(200);
    app.get(&admins).await.refused(404, "not_found");
}

#[tokio::test]
async fn feed_addresses_start_with_the_public_url() {
    let create = "mutation { createCalendarFeed { url } }";
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let found = app.with(&org.token).query(create, json!({})).await;
    let url = found["createCalendarFeed"]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{}/calendar/", app.address())), "{url}");
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);

    for public in ["https://tenantry.example.com", "https://example.com/api/"] {
        let public_url = public.to_owned().try_into().ok();
        let app = TestApp::start_with(|settings| settings.server.public_url = public_url).await;
        let org = app.sign_up("Gym").await;
        let client = app.with(&org.token);
        let request = client.request(Method::POST, "/graphql").json(&json!({ "query": create }));
        let reply = Client::send(request.header(header::HOST, "evil.example.com")).await;
        let url = reply.body["data"]["createCalendarFeed"]["url"].as_str().unwrap();
        let path = url.strip_prefix(public.trim_end_matches('/')).expect(url);
        assert!(path.starts_with("/calendar/"), "{url}");
        entries(&app.get(path).await);
    }
}
