//! Two servers on one database: a change through one is visible through the other at once.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::{Client, Database, Event, ServerProcess, ahead};

/// An event as a server shows it: by id, in the list, and in the calendar.
async fn shown(client: &Client, event: &Event, from: DateTime<Utc>) -> (Value, Value, Value) {
    let query = "query S($id: ID!, $from: DateTime!, $to: DateTime!) {
        event(id: $id) { ...whole }
        events { nodes { ...whole } }
        occurrences(from: $from, to: $to) { nodes { startsAt capacity event { ...whole } } } }
        fragment whole on Event { title capacity durationMinutes version recurrence { rule } }";
    let (from, to) = (from - Duration::days(1), from + Duration::days(30));
    let variables = json!({ "id": event.id, "from": from, "to": to });
    let mut data = client.query(query, variables).await;
    let mut take = |field: &str| data[field].take();
    (take("event"), take("events")["nodes"].take(), take("occurrences")["nodes"].take())
}

#[tokio::test]
async fn an_event_changed_through_one_server_is_seen_through_the_other_at_once() {
    let database = Database::new().await;
    let servers = [ServerProcess::start(&database), ServerProcess::start(&database)];
    let org = servers[0].client.sign_up("Gym").await;
    let clients = [0, 1].map(|i: usize| servers[i].client.with(&org.token));
    let start = ahead(48);
    for round in 0..20_i64 {
        // They alternate, so each server has cached the event of the previous round.
        let turn = usize::from(round % 2 == 1);
        let (one, other) = (&clients[turn], &clients[1 - turn]);
        let event = Event::once(one, start, 5).await;
        let (whole, list, calendar) = shown(other, &event, start).await;
        assert_eq!((&whole["title"], &whole["version"]), (&json!("Yoga"), &json!(1)));
        assert_eq!(list, json!([whole]));
        assert_eq!(calendar.as_array().unwrap().len(), 1);

        let later = start + Duration::hours(round + 1);
        let title = format!("Round {round}");
        let changes = [
            json!({ "title": title }),
            json!({ "capacity": 10 + round }),
            json!({ "startsAt": later.format("%Y-%m-%dT%H:%M:%S").to_string() }),
            json!({ "recurrence": { "rule": "FREQ=DAILY;COUNT=3" }, "durationMinutes": 30 }),
        ];
        for (change, version) in changes.into_iter().zip(2..) {
            event.update(change).await.done("event");
            let seen = shown(other, &event, start).await;
            assert_eq!(seen.0["version"], version, "round {round}: {seen:?}");
            assert_eq!(seen, shown(one, &event, start).await, "round {round}");
        }
        let (whole, _, calendar) = shown(other, &event, start).await;
        let expected = json!({ "title": title, "capacity": 10 + round, "durationMinutes": 30,
            "version": 5, "recurrence": { "rule": "FREQ=DAILY;COUNT=3" } });
        assert_eq!(whole, expected);
        let days = [0, 1, 2].map(|day| later + Duration::days(day));
        let expected = days.map(|day| {
            let starts = day.format("%Y-%m-%dT%H:%M:%SZ").to_string();
            json!({ "startsAt": starts, "capacity": 10 + round, "event": whole })
        });
        assert_eq!(calendar, json!(expected));

        // A seat taken through one server counts on the other.
        one.register(&event.at(later)).await.registration();
        assert_eq!(other.occurrence(&event.at(later)).await["seatsTaken"], 1);
        event.delete(true).await.done("deletedId");
        assert_eq!(shown(other, &event, start).await, (Value::Null, json!([]), json!([])));
    }
    drop(servers);
    database.drop_all();
}
