//! Many members compete for the same seats through two servers. The negative controls turn off the
//! transaction or bypass the server.

use std::collections::BTreeMap;

use bson::{Document, doc};
use chrono::Duration;
use futures::{StreamExt, stream};
use mongodb::Collection;
use serde_json::json;

use crate::support::{Client, Event, Member, Pair, TestApp, ahead, patiently};

type Tally = BTreeMap<String, usize>;

/// These servers write without the state that they read, and pause before they write.
const FORGETFUL: &str = "registration.before_write=sleep(60);registration.forget_reads=return";
/// Maximum number of concurrent requests, so that this process keeps up on a busy machine.
const AT_ONCE: usize = 512;
/// Maximum number of races in a negative control.
const ROUNDS: i64 = 10;

/// The expected number of each outcome.
fn expected<const N: usize>(words: [(&str, usize); N]) -> Tally {
    words.map(|(word, count)| (word.to_owned(), count)).into()
}

/// Counts the outcomes of `requests`, of which at most `at_once` run at the same time.
async fn tally<F>(at_once: usize, requests: impl IntoIterator<Item = F>) -> Tally
where
    F: Future<Output = String>,
{
    let mut words = stream::iter(requests).buffer_unordered(at_once);
    let mut tally = Tally::new();
    while let Some(word) = words.next().await {
        *tally.entry(word).or_default() += 1;
    }
    tally
}

/// All members register for the occurrence, alternating between the servers.
async fn race_for_seats(pair: &Pair, members: &[Member], occurrence: &str) -> Tally {
    let race = members.iter().enumerate().map(async |(turn, member)| {
        member.at(pair.client(turn)).register_patiently(occurrence).await
    });
    tally(AT_ONCE, race).await
}

#[tokio::test]
async fn of_2000_members_competing_for_100_seats_exactly_100_get_one() {
    let pair = Pair::start().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let occurrence = Event::once(&admin, start, 100).await.at(start);
    let members = pair.database.add_members(&org, 2_000).await;
    let tally = race_for_seats(&pair, &members, &occurrence).await;
    assert_eq!(tally, expected([("done", 100), ("EVENT_FULL", 1_900)]));
    let seats = pair.assert_sound(&org).await;
    assert_eq!(seats.at(&occurrence), (100, 100));
}

/// Negative control of the test above: check for a seat first, then take it.
#[tokio::test]
async fn without_the_transaction_too_many_seats_are_sold() {
    let pair = Pair::armed(FORGETFUL, FORGETFUL).await;
    let (org, admin) = pair.sign_up().await;
    for round in 0..ROUNDS {
        let start = ahead(24 + 2 * round);
        let occurrence = Event::once(&admin, start, 10).await.at(start);
        // The first registration creates documents, which two cannot do at once.
        assert_eq!(admin.register_outcome(&occurrence).await, "done");
        let members = pair.database.add_members(&org, 128).await;
        race_for_seats(&pair, &members, &occurrence).await;
        let seats = pair.database.seats(&org).await;
        if seats.at(&occurrence).0 > 10 {
            let flaws = seats.flaws();
            return assert!(flaws.iter().any(|flaw| flaw.contains("has 10 seats")), "{flaws:?}");
        }
    }
    panic!("no race sold too many seats");
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
    // Neighbours register for different days, and every member uses both servers.
    let turns = (0..2_000).map(|turn| (turn, &members[turn / 10], &days[(turn + turn / 10) % 10]));
    let race = turns.map(async |(turn, member, day)| {
        member.at(pair.client(turn)).register_patiently(day).await
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
    assert_eq!(tally, expected([("done", 1_000), ("EVENT_FULL", 1_000)]));
    assert!(renames > 1, "only {renames} renames during the race");
    let seats = pair.assert_sound(&org).await;
    for day in &days {
        assert_eq!(seats.at(day), (100, 100));
    }
}

/// One member registers for fifty overlapping occurrences at once, alternating between the servers.
async fn race_of_a_member(pair: &Pair, admin: &Client, member: &Member, hours: i64) -> Tally {
    let starts = (0..50).map(|minute| ahead(hours) + Duration::minutes(minute));
    let events = starts.map(async |start| Event::once(admin, start, 5).await.at(start));
    let occurrences: Vec<String> = stream::iter(events).buffered(8).collect().await;
    let race = occurrences.iter().enumerate().map(async |(turn, occurrence)| {
        member.at(pair.client(turn)).register_patiently(occurrence).await
    });
    tally(50, race).await
}

#[tokio::test]
async fn of_50_overlapping_occurrences_a_member_gets_exactly_one() {
    let pair = Pair::start().await;
    let (org, admin) = pair.sign_up().await;
    let member = pair.database.add_members(&org, 1).await.remove(0);
    let tally = race_of_a_member(&pair, &admin, &member, 24).await;
    assert_eq!(tally, expected([("done", 1), ("TIME_CONFLICT", 49)]));
    assert_eq!(pair.assert_sound(&org).await.of(&member.id), 1);
}

/// Negative control of the test above: read the calendar first, then write it.
#[tokio::test]
async fn without_the_transaction_a_member_gets_overlapping_seats() {
    let pair = Pair::armed(FORGETFUL, FORGETFUL).await;
    let (org, admin) = pair.sign_up().await;
    for round in 0..ROUNDS {
        let member = pair.database.add_members(&org, 1).await.remove(0);
        // The first registration creates the calendar, which two cannot do at once.
        let start = ahead(24 * 7);
        let other = Event::once(&admin, start, 1).await.at(start);
        assert_eq!(member.at(pair.client(0)).register_outcome(&other).await, "done");
        race_of_a_member(&pair, &admin, &member, 24 + 2 * round).await;
        let seats = pair.database.seats(&org).await;
        if seats.of(&member.id) > 2 {
            let flaws = seats.flaws();
            return assert!(flaws.iter().any(|flaw| flaw.contains("is busy with")), "{flaws:?}");
        }
    }
    panic!("no race produced an overlap");
}

/// Writes to the tenant's collection directly; returns the code of the database's refusal.
async fn write_directly(
    tenant: &Collection<Document>,
    kind: &str,
    update: Document,
) -> Option<i32> {
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
    assert_eq!(
        admin.register_outcome(&Event::once(&admin, start, 2).await.at(start)).await,
        "done"
    );
    let tenant = app.database.tenant_of(&org).await;

    let set = |field: &str, value: i64| doc! { "$set": { field: value } };
    assert_eq!(write_directly(&tenant, "occurrence", set("seats_taken", 3)).await, REFUSED);
    assert_eq!(write_directly(&tenant, "occurrence", set("seats_taken", -1)).await, REFUSED);
    assert_eq!(write_directly(&tenant, "occurrence", set("capacity", 0)).await, REFUSED);
    assert_eq!(
        write_directly(&tenant, "occurrence", doc! { "$unset": { "capacity": "" } }).await,
        REFUSED
    );
    assert_eq!(write_directly(&tenant, "occurrence", set("seats_taken", 2)).await, None);
    assert_eq!(write_directly(&tenant, "occurrence", set("seats_taken", 1)).await, None);

    let busy = |from: i64, to: i64| {
        let at = |minutes| bson::DateTime::from_chrono(start + Duration::minutes(minutes));
        let event = bson::oid::ObjectId::new();
        let busy = vec![doc! { "start": at(from), "end": at(to), "event": event }];
        let sorted = doc! { "$each": busy, "$sort": { "start": 1 } };
        doc! { "$push": { "busy": sorted } }
    };
    // The admin is busy for one hour from `start`.
    for (from, to) in [(59, 90), (-30, 1), (10, 20), (-10, 70), (0, 60), (90, 80), (90, 90)] {
        assert_eq!(
            write_directly(&tenant, "calendar", busy(from, to)).await,
            REFUSED,
            "{from} to {to}"
        );
    }
    assert_eq!(
        write_directly(&tenant, "calendar", doc! { "$unset": { "busy": "" } }).await,
        REFUSED
    );
    for (from, to) in [(60, 90), (-30, 0), (90, 91)] {
        assert_eq!(
            write_directly(&tenant, "calendar", busy(from, to)).await,
            None,
            "{from} to {to}"
        );
    }
}
