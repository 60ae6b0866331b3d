//! Changing.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::{
    failure::{Answer, fail},
    id_or,
    inputs::{CreateEventInput, UpdateEventInput},
    source,
    types::{CalendarFeed, EventNode, OccurrenceNode, RegistrationNode, WaitingNode},
};
use crate::{
    config::PublicUrl,
    domain::{
        self,
        scheduling::{self, BookingRefusal, RegistrationId},
    },
    manager::scheduling::BookingResult,
    web::http::input::valid,
};

/// What can be changed.
pub(super) struct Mutation;

/// Why something is not done. It is an answer, not an error.
pub(super) struct RefusalNode(BookingRefusal);

/// The reasons.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
#[graphql(remote = "scheduling::RefusalCode")]
pub(super) enum RefusalCode {
    /// Every seat is taken.
    EventFull,
    /// The member is registered for something at that time.
    TimeConflict,
    /// The member has a seat already.
    AlreadyRegistered,
    /// The occurrence was called off.
    OccurrenceCancelled,
    /// The occurrence has started.
    OccurrencePast,
    /// More seats are taken than would be left.
    CapacityBelowTaken,
    /// Registrations stand in the way.
    HasRegistrations,
    /// The member has no seat.
    NotRegistered,
    /// The member is on the waiting list already.
    AlreadyWaiting,
    /// The member is not on the waiting list.
    NotWaiting,
    /// There is a seat: waiting is not needed.
    SeatsAvailable,
    /// Too many wait already.
    WaitingListFull,
    /// The member has too many registrations ahead.
    TooManyRegistrations,
}

#[Object(name = "Refusal")]
impl RefusalNode {
    /// A stable word for programs.
    async fn code(&self) -> RefusalCode {
        self.0.code.into()
    }
    /// A sentence for people.
    async fn message(&self) -> &str {
        &self.0.message
    }
    /// The registration that stands in the way.
    async fn conflicts_with(&self, ctx: &Context<'_>) -> Answer<Option<RegistrationNode>> {
        let Some(id) = self.0.conflicts_with else { return Ok(None) };
        let source = source(ctx)?;
        let found = source.manager.registrations_among(&source.scope, vec![id]).await;
        Ok(found.map_err(fail)?.pop().map(RegistrationNode))
    }
}

/// A seat, or why not.
#[derive(SimpleObject)]
struct RegisterPayload {
    /// The seat.
    registration: Option<RegistrationNode>,
    /// Why there is none.
    refusal: Option<RefusalNode>,
}

/// The registration that holds no seat any more, or why it still does.
#[derive(SimpleObject)]
struct CancelRegistrationPayload {
    /// The registration.
    registration: Option<RegistrationNode>,
    /// Why it is not cancelled.
    refusal: Option<RefusalNode>,
}

/// The event as it is now, or why it is as it was.
#[derive(SimpleObject)]
struct UpdateEventPayload {
    /// The event.
    event: Option<EventNode>,
    /// Why it is not changed.
    refusal: Option<RefusalNode>,
}

/// What was deleted, or why not.
#[derive(SimpleObject)]
struct DeleteEventPayload {
    /// The identity of the event that is gone.
    deleted_id: Option<ID>,
    /// Why it is still there.
    refusal: Option<RefusalNode>,
}

/// A place on the waiting list, or why not.
#[derive(SimpleObject)]
struct JoinWaitingListPayload {
    /// The place.
    entry: Option<WaitingNode>,
    /// Why there is none.
    refusal: Option<RefusalNode>,
}

/// Whether the member has left the waiting list.
#[derive(SimpleObject)]
struct LeaveWaitingListPayload {
    /// Whether it has.
    left: bool,
    /// Why not.
    refusal: Option<RefusalNode>,
}

#[Object]
impl Mutation {
    /// Makes an event. For admins.
    async fn create_event(&self, ctx: &Context<'_>, input: CreateEventInput) -> Answer<EventNode> {
        let source = source(ctx)?;
        let admin = source.scope.admin().map_err(fail)?;
        let input = valid(input).map_err(fail)?;
        let event = source.manager.event_create(&admin, input).await.map_err(fail)?;
        Ok(EventNode(event.into()))
    }

    /// Changes an event, unless that would take away what members were promised: a capacity below
    /// what is taken is refused, and a schedule in which registrations have no place. For admins.
    async fn update_event(
        &self,
        ctx: &Context<'_>,
        id: ID,
        input: UpdateEventInput,
    ) -> Answer<UpdateEventPayload> {
        let source = source(ctx)?;
        let admin = source.scope.admin().map_err(fail)?;
        let (id, patch) = (id_or(&id, "event")?, valid(input).map_err(fail)?);
        let updated = source.manager.event_update(&admin, id, patch).await.map_err(fail)?;
        let (event, refusal) = split(updated);
        Ok(UpdateEventPayload { event: event.map(|event| EventNode(event.into())), refusal })
    }

    /// Deletes an event. With registrations ahead that is refused, unless they are to be cancelled
    /// with it. For admins.
    async fn delete_event(
        &self,
        ctx: &Context<'_>,
        id: ID,
        cancel_registrations: Option<bool>,
    ) -> Answer<DeleteEventPayload> {
        let source = source(ctx)?;
        let admin = source.scope.admin().map_err(fail)?;
        let id = id_or(&id, "event")?;
        let cancel = cancel_registrations.unwrap_or(false);
        let deleted = source.manager.event_delete(&admin, id, cancel).await.map_err(fail)?;
        let (event, refusal) = split(deleted);
        Ok(DeleteEventPayload { deleted_id: event.map(|e| e.id.to_string().into()), refusal })
    }

    /// Calls one occurrence off; its registrations are cancelled with it. For admins.
    async fn cancel_occurrence(&self, ctx: &Context<'_>, id: ID) -> Answer<OccurrenceNode> {
        let source = source(ctx)?;
        let admin = source.scope.admin().map_err(fail)?;
        let id = id_or(&id, "occurrence")?;
        let cancelled = source.manager.occurrence_cancel(&admin, id).await;
        let (occurrence, event) = cancelled.map_err(fail)?;
        Ok(OccurrenceNode { occurrence, event })
    }

    /// Takes a seat, for the caller or, as an admin, on behalf of a member.
    async fn register(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<RegisterPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.register(&source.scope, occurrence, member).await;
        let (registration, refusal) = split(ticket.map_err(fail)?);
        Ok(RegisterPayload { registration: registration.map(RegistrationNode), refusal })
    }

    /// Gives a seat back: the caller's own or, as an admin, anybody's. It goes to who waits.
    async fn cancel_registration(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Answer<CancelRegistrationPayload> {
        let source = source(ctx)?;
        let id: RegistrationId = id_or(&id, "registration")?;
        let ticket = source.manager.registration_cancel(&source.scope, id).await;
        let (registration, refusal) = split(ticket.map_err(fail)?);
        Ok(CancelRegistrationPayload { registration: registration.map(RegistrationNode), refusal })
    }

    /// Waits for a seat at a full occurrence. A seat that comes free goes to the first for whom it
    /// overlaps with nothing.
    async fn join_waiting_list(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<JoinWaitingListPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.waiting_join(&source.scope, occurrence, member).await;
        let (entry, refusal) = split(ticket.map_err(fail)?);
        let entry = entry.map(|(position, waiter)| WaitingNode { occurrence, position, waiter });
        Ok(JoinWaitingListPayload { entry, refusal })
    }

    /// Waits no longer.
    async fn leave_waiting_list(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<LeaveWaitingListPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.waiting_leave(&source.scope, occurrence, member).await;
        let (left, refusal) = split(ticket.map_err(fail)?);
        Ok(LeaveWaitingListPayload { left: left.is_some(), refusal })
    }

    /// A new address for the caller's calendar feed; the one before stops working.
    async fn create_calendar_feed(&self, ctx: &Context<'_>) -> Answer<CalendarFeed> {
        let source = source(ctx)?;
        let token = source.manager.feed_create(&source.scope).await.map_err(fail)?;
        let base = ctx.data::<PublicUrl>()?;
        Ok(CalendarFeed { url: format!("{base}/calendar/{token}.ics") })
    }

    /// Takes the caller's calendar feed away.
    async fn revoke_calendar_feed(&self, ctx: &Context<'_>) -> Answer<bool> {
        let source = source(ctx)?;
        source.manager.feed_revoke(&source.scope).await.map_err(fail)?;
        Ok(true)
    }
}

fn split<T>(ticket: BookingResult<T>) -> (Option<T>, Option<RefusalNode>) {
    match ticket {
        Ok(done) => (Some(done), None),
        Err(refusal) => (None, Some(RefusalNode(refusal))),
    }
}

fn member(id: Option<ID>) -> Answer<Option<domain::AccountId>> {
    id.map(|id| id_or(&id, "member")).transpose()
}
