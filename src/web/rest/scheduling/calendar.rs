//! A member's registrations for calendar programs (iCalendar, RFC 5545).

use std::{convert::Infallible, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    get,
    http::header::{CacheControl, CacheDirective, ETag, EntityTag, Header, IfNoneMatch},
    web::{Bytes, Path},
};
use futures::stream;
use icalendar::{Calendar, Component, Event, EventLike, EventStatus};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    error::Result,
    manager::scheduling::{FeedItem, Poll},
    web::{
        http::{
            address::ClientAddress,
            problem::{BusyErrors, Problem, ThrottleErrors},
        },
        rest::State,
    },
};

/// The bytes copied at a time, which limits the memory of a client that does not read.
const PIECE: usize = 16 << 10;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(feed);
}

/// A member's calendar
///
/// The registrations of the member who created this address with `createCalendarFeed` of the
/// GraphQL API, from 90 days ago to two years ahead. Anyone who knows the address can read it until
/// it is revoked. There are at most 1,000 entries, whose descriptions share 512 KiB: one that is
/// longer than its share is cut and ends with an ellipsis. Send the `ETag` of an answer as
/// `If-None-Match` to get a 304 until something changes.
#[utoipa::path(
    tag = "calendar",
    params(
        ("token" = String, Path, description = "The secret of the address", example = "q3N0Wk8y"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the client's copy", nullable = false),
    ),
    responses(
        (
            status = 200, description = "The calendar", body = String, content_type = "text/calendar",
            headers(("ETag" = String, description = "It changes with the calendar")),
        ),
        (status = 304, description = "The client's copy is current"),
        (status = 404, description = "No such calendar", body = Problem, content_type = "application/problem+json"),
        ThrottleErrors, BusyErrors,
    )
)]
#[get("/calendar/{token}.ics")]
async fn feed(
    state: State,
    request: HttpRequest,
    address: ClientAddress,
    token: Path<String>,
) -> Result<HttpResponse> {
    let condition = IfNoneMatch::parse(&request).ok();
    let knows = |tag: &str| condition.as_ref().is_some_and(|known| includes(known, tag));
    let poll = Poll { token: &token, address: address.0, knows: &knows, render };
    let feed = state.manager.feed(poll).await?;
    Ok(answer(feed.tag, feed.text))
}

fn includes(condition: &IfNoneMatch, tag: &str) -> bool {
    match condition {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|known| known.tag() == tag),
    }
}

fn answer(tag: String, text: Option<Arc<[u8]>>) -> HttpResponse {
    let mut answer = if text.is_some() { HttpResponse::Ok() } else { HttpResponse::NotModified() };
    answer
        .insert_header(ETag(EntityTag::new_weak(tag)))
        .insert_header(CacheControl(vec![CacheDirective::Private, CacheDirective::NoCache]));
    let Some(text) = text else { return answer.finish() };
    answer
        .content_type("text/calendar; charset=utf-8")
        .insert_header(("content-disposition", "inline; filename=\"tenantry.ics\""))
        .body(in_pieces(Bytes::from_owner(text)))
}

/// A body that is copied in pieces as the client reads it.
fn in_pieces(
    text: Bytes,
) -> SizedStream<impl stream::Stream<Item = std::result::Result<Bytes, Infallible>>> {
    let length = text.len();
    let pieces = (0..length).step_by(PIECE);
    let pieces = pieces.map(move |from| Ok(text.slice(from..length.min(from + PIECE))));
    SizedStream::new(length as u64, stream::iter(pieces))
}

fn render(items: Vec<FeedItem>) -> Vec<u8> {
    let mut calendar = Calendar::new();
    calendar.name("Tenantry");
    for (registration, event) in items {
        let mut entry = Event::new();
        entry
            .uid(&format!("{}@tenantry", registration.id))
            .summary(event.title.as_str())
            .timestamp(registration.created_at)
            .starts(registration.id.occurrence.start)
            .ends(registration.end)
            .status(EventStatus::Confirmed);
        if let Some(description) = &event.description {
            // The library escapes only line feeds, and some programs end a line at a carriage
            // return.
            entry.description(&description.replace("\r\n", "\n").replace('\r', "\n"));
        }
        calendar.push(entry.done());
    }
    calendar.to_string().into_bytes()
}
