//! Write skew: two changes that read each other's documents but write different ones must conflict.
//! One server pauses between its reads and writes, so the other one always gets in between.

use chrono::Duration;
use futures::future::{join, join_all};
use serde_json::json;

use crate::support::{Event, Member, Org, Pair, ahead};

/// Makes the second server pause before it writes.
const SLOW: &str = "registration.before_write=sleep(60)";

async fn slow_pair() -> Pair {
    Pair::armed("", SLOW).await
}

/// One member cancels the only seat while another joins the waiting list. Returns the outcome of
/// the join, and whether that member holds the seat.
async fn joined_while_freed(pair: &Pair, org: &Org, hours: i64) -> (String, bool) {
    let members = pair.database.add_members(org, 2).await;
    let (holder, waiter) = (&members[0], &members[1]);
    let start = ahead(hours);
    let admin = pair.one.client.with(&org.token);
    let occurrence = Event::once(&admin, start, 1).await.at(start);
    let (one, two) = (holder.at(&pair.one.client), waiter.at(&pair.two.client));
    assert_eq!(one.register_outcome(&occurrence).await, "done");
    let (cancelled, joined) =
        join(one.cancel_outcome(&occurrence, &holder.id), two.join_outcome(&occurrence)).await;
    assert_eq!(cancelled, "done");
    (joined, pair.database.seats(org).await.holds(&occurrence, &waiter.id))
}

#[tokio::test]
async fn joining_while_a_seat_is_freed_gets_it_or_reports_free_seats() {
    let pair = slow_pair().await;
    let (org, _) = pair.sign_up().await;
    for hour in 0..5 {
        let (joined, seated) = joined_while_freed(&pair, &org, 24 + hour).await;
        match joined.as_str() {
            "done" => assert!(seated, "the seat is free, but a member waits for it"),
            other => assert_eq!((other, seated), ("SEATS_AVAILABLE", false)),
        }
    }
    pair.assert_sound(&org).await;
}

/// Negative control: without a write to the shared document, the transactions do not conflict.
#[tokio::test]
async fn without_a_touch_a_member_waits_for_a_free_seat() {
    let untouched = "registration.skip_touch=return";
    let pair = Pair::armed(untouched, &format!("{SLOW};{untouched}")).await;
    let (org, _) = pair.sign_up().await;
    for hour in 0..20 {
        if joined_while_freed(&pair, &org, 24 + hour).await == ("done".to_owned(), false) {
            return;
        }
    }
    panic!("the two conflicted every time");
}

#[tokio::test]
async fn a_member_removed_while_registering_or_joining_holds_nothing() {
    let pair = slow_pair().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let (open, full) = (Event::once(&admin, start, 10).await, Event::once(&admin, start, 1).await);
    assert_eq!(admin.register_outcome(&full.at(start)).await, "done");
    for (turn, member) in pair.database.add_members(&org, 6).await.iter().enumerate() {
        let client = member.at(&pair.two.client);
        let asking = async {
            if turn % 2 == 0 {
                client.register_outcome(&open.at(start)).await
            } else {
                client.join_outcome(&full.at(start)).await
            }
        };
        let path = format!("/org/members/{}", member.id);
        let (asked, removed) = join(asking, admin.delete(&path)).await;
        assert!(["done", "unauthenticated"].contains(&asked.as_str()), "{asked}");
        removed.expect(200);
        pair.assert_sound(&org).await;
    }
}

#[tokio::test]
async fn a_member_registered_and_removed_by_two_admins_holds_nothing() {
    let pair = slow_pair().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let occurrence = Event::once(&admin, start, 10).await.at(start);
    for member in pair.database.add_members(&org, 3).await {
        let other = pair.two.client.with(&org.token);
        let path = format!("/org/members/{}", member.id);
        let (registered, removed) =
            join(other.register_for_outcome(&occurrence, &member.id), admin.delete(&path)).await;
        assert!(["done", "not_found"].contains(&registered.as_str()), "{registered}");
        removed.expect(200);
        pair.assert_sound(&org).await;
    }
}

#[tokio::test]
async fn the_first_registration_conflicts_with_a_change_of_the_event() {
    let pair = slow_pair().await;
    let (org, admin) = pair.sign_up().await;
    let members = pair.database.add_members(&org, 8).await;
    for (turn, member) in members.iter().enumerate() {
        let start = ahead(24 * (1 + i64::try_from(turn).unwrap()));
        let event = Event::once(&admin, start, 1).await;
        let occurrence = event.at(start);
        let client = member.at(&pair.two.client);
        let later = (start + Duration::hours(2)).format("%Y-%m-%dT%H:%M:%S").to_string();
        let update = async |input| {
            let payload = event.update(input).await;
            payload.0["refusal"]["code"].as_str().unwrap_or("done").to_owned()
        };
        let change = async {
            match turn % 4 {
                0 => update(json!({ "startsAt": later })).await,
                1 => update(json!({ "durationMinutes": 90 })).await,
                2 => event.cancel_occurrence(&occurrence).await["status"].to_string(),
                _ => {
                    let refusal = event.delete(false).await.0["refusal"]["code"].clone();
                    refusal.as_str().unwrap_or("done").to_owned()
                }
            }
        };
        let (registered, changed) = join(client.register_outcome(&occurrence), change).await;
        let pair_of_words = (registered.as_str(), changed.as_str());
        let expected = [
            vec![("done", "HAS_REGISTRATIONS"), ("not_found", "done")],
            vec![("done", "HAS_REGISTRATIONS"), ("done", "done")],
            vec![("done", "\"CANCELLED\""), ("OCCURRENCE_CANCELLED", "\"CANCELLED\"")],
            vec![("done", "HAS_REGISTRATIONS"), ("not_found", "done")],
        ];
        assert!(expected[turn % 4].contains(&pair_of_words), "{turn}: {pair_of_words:?}");
        pair.assert_sound(&org).await;
    }
}

#[tokio::test]
async fn a_capacity_lowered_during_a_registration_is_not_exceeded() {
    let pair = slow_pair().await;
    let (org, admin) = pair.sign_up().await;
    let members = pair.database.add_members(&org, 2).await;
    for hour in 0..4 {
        let start = ahead(24 + hour);
        let event = Event::once(&admin, start, 2).await;
        let occurrence = event.at(start);
        assert_eq!(members[0].at(&pair.one.client).register_outcome(&occurrence).await, "done");
        let (registered, changed) = join(
            async { members[1].at(&pair.two.client).register_outcome(&occurrence).await },
            event.update(json!({ "capacity": 1 })),
        )
        .await;
        let refusal = changed.0["refusal"]["code"].as_str();
        match registered.as_str() {
            "done" => assert_eq!(refusal, Some("CAPACITY_BELOW_TAKEN")),
            other => assert_eq!((other, refusal), ("EVENT_FULL", None)),
        }
        pair.assert_sound(&org).await;
    }
}

/// One member cancels and another registers in one transaction, so the number of seats stays the
/// same, while an admin cancels the occurrence. It has too many seats for one transaction.
#[tokio::test]
async fn a_seat_that_changes_hands_while_all_are_cancelled_is_cancelled_too() {
    let pair = slow_pair().await;
    let (org, admin) = pair.sign_up().await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 501).await;
    let occurrence = event.at(start);
    let members = pair.database.add_members(&org, 511).await;
    assert_eq!(members[0].at(&pair.one.client).register_outcome(&occurrence).await, "done");
    let (holders, others) = members.split_at(501);
    pair.database.seat_all(&org, &occurrence, holders).await;
    let server = &pair.two.client;
    let swap = async |(leaving, coming): (&Member, &Member)| {
        let (leaver, comer) = (leaving.at(server), coming.at(server));
        join(leaver.cancel_outcome(&occurrence, &leaving.id), comer.register_outcome(&occurrence))
            .await
    };
    let swaps = join_all(holders.iter().zip(others).map(swap));
    let (_, cancelled) = join(swaps, event.cancel_occurrence(&occurrence)).await;
    assert_eq!(cancelled["status"], "CANCELLED");
    let seats = pair.assert_sound(&org).await;
    assert_eq!(seats.at(&occurrence), (0, 0));
}
