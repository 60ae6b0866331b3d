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

/// What is copied for a client at a time: one that does not read holds no more than this.
const PIECE: usize = 16 << 10;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(feed);
}

/// A member's calendar
///
/// The registrations of the member for whom `createCalendarFeed` of the GraphQL API has made this
/// address, from 90 days ago to two years ahead. Whoever knows the address may read it, until it is
/// revoked. There are at most 1,000 entries, and their descriptions share 512 KiB: what is longer
/// than its part ends with an ellipsis. Send the `ETag` of an answer as `If-None-Match`, and the next
/// one is a 304 until something changes.
#[utoipa::path(
    tag = "calendar",
    params(
        ("token" = String, Path, description = "The secret of the address", example = "q3N0Wk8y"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the answer that the client has", nullable = false),
    ),
    responses(
        (
            status = 200, description = "The calendar", body = String, content_type = "text/calendar",
            headers(("ETag" = String, description = "It changes with the calendar")),
        ),
        (status = 304, description = "The client has the calendar already"),
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
    let asked = IfNoneMatch::parse(&request).ok();
    let knows = |tag: &str| asked.as_ref().is_some_and(|asked| includes(asked, tag));
    let poll = Poll { token: &token, address: address.0, knows: &knows, render };
    let feed = state.manager.feed(poll).await?;
    Ok(answer(feed.tag, feed.text))
}

fn includes(asked: &IfNoneMatch, tag: &str) -> bool {
    match asked {
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

/// A body that is copied for the client as it is read.
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
            // The library escapes line feeds only, and some programs end a line at a bare return.
            entry.description(&description.replace("\r\n", "\n").replace('\r', "\n"));
        }
        calendar.push(entry.done());
    }
    calendar.to_string().into_bytes()
}
