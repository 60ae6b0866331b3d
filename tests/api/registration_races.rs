//! Many who want the same seats at once, through two servers, and what becomes of them without
//! the transaction and the database's own rules.

use std::collections::BTreeMap;

use bson::{Document, doc};
use chrono::Duration;
use futures::{StreamExt, stream};
use mongodb::Collection;
use serde_json::json;

use crate::support::{Client, Event, Member, Pair, TestApp, ahead, patiently};

type Tally = BTreeMap<String, usize>;

/// Servers that forget what they have read before they write, and take their time in between.
const FORGETFUL: &str = "registration.before_write=sleep(60);registration.forget_reads=return";
/// So many ask at once: this process has to keep up with them on a busy machine.
const AT_ONCE: usize = 512;
/// So often a race is run at most in which somebody is to lose.
const ROUNDS: i64 = 10;

/// How often each word is to be heard.
fn times<const N: usize>(words: [(&str, usize); N]) -> Tally {
    words.map(|(word, count)| (word.to_owned(), count)).into()
}

/// How often each word is heard, at most `at_once` speaking at the same time.
async fn tally<F>(at_once: usize, asking: impl IntoIterator<Item = F>) -> Tally
where
    F: Future<Output = String>,
{
    let mut words = stream::iter(asking).buffer_unordered(at_once);
    let mut tally = Tally::new();
    while let Some(word) = words.next().await {
        *tally.entry(word).or_default() += 1;
    }
    tally
}

/// The members want a seat at the occurrence, by turns through both servers.
async fn race_for_seats(pair: &Pair, members: &[Member], occurrence: &str) -> Tally {
    let race = members.iter().enumerate().map(async |(turn, member)| {
        member.at(pair.client(turn)).registers_in_the_end(occurrence).await
    });
    tally(AT_ONCE, race).await
}

#[tokio::test]
async fn of_2000_members_who_want_100_seats_exactly_100_get_one() {
    let pair = Pair::start().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let occurrence = Event::once(&admin, start, 100).await.at(start);
    let members = pair.database.add_members(&org, 2_000).await;
    let tally = race_for_seats(&pair, &members, &occurrence).await;
    assert_eq!(tally, times([("done", 100), ("EVENT_FULL", 1_900)]));
    let seats = pair.assert_sound(&org).await;
    assert_eq!(seats.at(&occurrence), (100, 100));
}

/// The control of the test above: to look for a seat first and to take it then.
#[tokio::test]
async fn without_the_transaction_seats_are_sold_twice() {
    let pair = Pair::armed(FORGETFUL, FORGETFUL).await;
    let (org, admin) = pair.sign_up().await;
    for round in 0..ROUNDS {
        let start = ahead(24 + 2 * round);
        let occurrence = Event::once(&admin, start, 10).await.at(start);
        // The first one makes documents, which two cannot do.
        assert_eq!(admin.registers(&occurrence).await, "done");
        let members = pair.database.add_members(&org, 128).await;
        race_for_seats(&pair, &members, &occurrence).await;
        let seats = pair.database.seats(&org).await;
        if seats.at(&occurrence).0 > 10 {
            let flaws = seats.flaws();
            return assert!(flaws.iter().any(|flaw| flaw.contains("has 10 seats")), "{flaws:?}");
        }
    }
    panic!("no seat was sold twice");
}

#[tokio::test]
async fn two_hundred_members_fill_ten_occurrences_while_the_organization_is_renamed() {
    let pair = Pair::start().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let daily = json!({
        "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(), "capacity": 100,
        "recurrence": { "frequency": "DAILY", "count": 10 },
    });
    let event = Event::create(&admin, daily).await;
    let days: Vec<String> = (0..10).map(|day| event.at(start + Duration::days(day))).collect();
    let members = pair.database.add_members(&org, 200).await;
    // Neighbours ask for different days, and every member goes through both servers.
    let turns = (0..2_000).map(|turn| (turn, &members[turn / 10], &days[(turn + turn / 10) % 10]));
    let race = turns.map(async |(turn, member, day)| {
        member.at(pair.client(turn)).registers_in_the_end(day).await
    });
    let (mut renames, done) = (0, std::cell::Cell::new(false));
    let renaming = async {
        while !done.get() {
            renames += 1;
            let name = format!("Gym {renames}");
            patiently(async || admin.rename(&name).await).await.expect(200);
        }
    };
    let racing = async {
        let tally = tally(128, race).await;
        done.set(true);
        tally
    };
    let (tally, ()) = tokio::join!(racing, renaming);
    assert_eq!(tally, times([("done", 1_000), ("EVENT_FULL", 1_000)]));
    assert!(renames > 1, "{renames} renames are no disturbance");
    let seats = pair.assert_sound(&org).await;
    for day in &days {
        assert_eq!(seats.at(day), (100, 100));
    }
}

/// A member wants seats at fifty occurrences at once, by turns through both servers, of which each
/// overlaps with every other one.
async fn race_of_a_member(pair: &Pair, admin: &Client, member: &Member, hours: i64) -> Tally {
    let starts = (0..50).map(|minute| ahead(hours) + Duration::minutes(minute));
    let events = starts.map(async |start| Event::once(admin, start, 5).await.at(start));
    let occurrences: Vec<String> = stream::iter(events).buffered(8).collect().await;
    let race = occurrences.iter().enumerate().map(async |(turn, occurrence)| {
        member.at(pair.client(turn)).registers_in_the_end(occurrence).await
    });
    tally(50, race).await
}

#[tokio::test]
async fn of_50_overlapping_occurrences_a_member_gets_exactly_one() {
    let pair = Pair::start().await;
    let (org, admin) = pair.sign_up().await;
    let member = pair.database.add_members(&org, 1).await.remove(0);
    let tally = race_of_a_member(&pair, &admin, &member, 24).await;
    assert_eq!(tally, times([("done", 1), ("TIME_CONFLICT", 49)]));
    assert_eq!(pair.assert_sound(&org).await.of(&member.id), 1);
}

/// The control of the test above: to look into the calendar first and to write it then.
#[tokio::test]
async fn without_the_transaction_a_member_is_in_many_places_at_once() {
    let pair = Pair::armed(FORGETFUL, FORGETFUL).await;
    let (org, admin) = pair.sign_up().await;
    for round in 0..ROUNDS {
        let member = pair.database.add_members(&org, 1).await.remove(0);
        // The first one makes the calendar, which two cannot do.
        let start = ahead(24 * 7);
        let other = Event::once(&admin, start, 1).await.at(start);
        assert_eq!(member.at(pair.client(0)).registers(&other).await, "done");
        race_of_a_member(&pair, &admin, &member, 24 + 2 * round).await;
        let seats = pair.database.seats(&org).await;
        if seats.of(&member.id) > 2 {
            let flaws = seats.flaws();
            return assert!(flaws.iter().any(|flaw| flaw.contains("is busy with")), "{flaws:?}");
        }
    }
    panic!("the member is in one place every time");
}

/// Writes past the store into what a member and an occurrence have; the code of the refusal.
async fn spoil(tenant: &Collection<Document>, kind: &str, update: Document) -> Option<i32> {
    let outcome = tenant.update_one(doc! { "_id.kind": kind }, update).await;
    match outcome {
        Ok(updated) => {
            assert_eq!(updated.modified_count, 1, "nothing was written");
            None
        }
        Err(error) => match error.kind.as_ref() {
            mongodb::error::ErrorKind::Write(mongodb::error::WriteFailure::WriteError(e)) => {
                Some(e.code)
            }
            _ => panic!("{error}"),
        },
    }
}

#[tokio::test]
async fn the_database_itself_refuses_oversold_seats_and_overlapping_times() {
    const REFUSED: Option<i32> = Some(121);
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let start = ahead(24);
    assert_eq!(admin.registers(&Event::once(&admin, start, 2).await.at(start)).await, "done");
    let tenant = app.database.tenant_of(&org).await;

    let set = |field: &str, value: i64| doc! { "$set": { field: value } };
    assert_eq!(spoil(&tenant, "occurrence", set("seats_taken", 3)).await, REFUSED);
    assert_eq!(spoil(&tenant, "occurrence", set("seats_taken", -1)).await, REFUSED);
    assert_eq!(spoil(&tenant, "occurrence", set("capacity", 0)).await, REFUSED);
    assert_eq!(spoil(&tenant, "occurrence", doc! { "$unset": { "capacity": "" } }).await, REFUSED);
    assert_eq!(spoil(&tenant, "occurrence", set("seats_taken", 2)).await, None);
    assert_eq!(spoil(&tenant, "occurrence", set("seats_taken", 1)).await, None);

    let busy = |from: i64, to: i64| {
        let at = |minutes| bson::DateTime::from_chrono(start + Duration::minutes(minutes));
        let event = bson::oid::ObjectId::new();
        let busy = vec![doc! { "start": at(from), "end": at(to), "event": event }];
        let sorted = doc! { "$each": busy, "$sort": { "start": 1 } };
        doc! { "$push": { "busy": sorted } }
    };
    // The admin is busy for an hour from the start on.
    for (from, to) in [(59, 90), (-30, 1), (10, 20), (-10, 70), (0, 60), (90, 80), (90, 90)] {
        assert_eq!(spoil(&tenant, "calendar", busy(from, to)).await, REFUSED, "{from} to {to}");
    }
    assert_eq!(spoil(&tenant, "calendar", doc! { "$unset": { "busy": "" } }).await, REFUSED);
    for (from, to) in [(60, 90), (-30, 0), (90, 91)] {
        assert_eq!(spoil(&tenant, "calendar", busy(from, to)).await, None, "{from} to {to}");
    }
}
