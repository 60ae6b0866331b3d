//! A member's registrations for calendar programs (iCalendar, RFC 5545).

use actix_web::{HttpResponse, get, web::Path};
use icalendar::{Calendar, Component, Event, EventLike, EventStatus};
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;
use crate::{
    error::Result,
    web::problem::{BusyErrors, Problem},
};

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(feed);
}

/// A member's calendar
///
/// The registrations of the member for whom `createCalendarFeed` of the GraphQL API has made this
/// address, from 90 days ago on. Whoever knows the address may read it, until it is revoked.
#[utoipa::path(
    tag = "calendar",
    params(("token" = String, Path, description = "The secret of the address", example = "q3N0Wk8y")),
    responses(
        (status = 200, description = "The calendar", body = String, content_type = "text/calendar"),
        (status = 404, description = "No such calendar", body = Problem, content_type = "application/problem+json"),
        BusyErrors,
    )
)]
#[get("/calendar/{token}.ics")]
async fn feed(state: State, token: Path<String>) -> Result<HttpResponse> {
    let items = state.manager.feed(&token).await?;
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
    Ok(HttpResponse::Ok()
        .content_type("text/calendar; charset=utf-8")
        .insert_header(("content-disposition", "inline; filename=\"tenantry.ics\""))
        .body(calendar.to_string()))
}
