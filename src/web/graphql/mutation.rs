//! The root fields that change data.

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

/// The root of mutations.
pub(super) struct Mutation;

/// Why a change was refused. This is a result, not an error.
pub(super) struct RefusalNode(BookingRefusal);

/// The reason of a refusal.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
#[graphql(remote = "scheduling::RefusalCode")]
pub(super) enum RefusalCode {
    /// Every seat is taken.
    EventFull,
    /// The member is registered for another occurrence at that time.
    TimeConflict,
    /// The member already has a seat.
    AlreadyRegistered,
    /// The occurrence was cancelled.
    OccurrenceCancelled,
    /// The occurrence has started.
    OccurrencePast,
    /// The new capacity is below the number of taken seats.
    CapacityBelowTaken,
    /// There are registrations that prevent the change.
    HasRegistrations,
    /// The member has no seat.
    NotRegistered,
    /// The member is already on the waiting list.
    AlreadyWaiting,
    /// The member is not on the waiting list.
    NotWaiting,
    /// A seat is free, so the member can register.
    SeatsAvailable,
    /// The waiting list is full.
    WaitingListFull,
    /// The member has too many future registrations.
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
    /// The conflicting registration.
    async fn conflicts_with(&self, ctx: &Context<'_>) -> Answer<Option<RegistrationNode>> {
        let Some(id) = self.0.conflicts_with else { return Ok(None) };
        let source = source(ctx)?;
        let found = source.manager.registrations_among(&source.ctx, vec![id]).await;
        Ok(found.map_err(fail)?.pop().map(RegistrationNode))
    }
}

/// The result of `register`.
#[derive(SimpleObject)]
struct RegisterPayload {
    /// The new registration.
    registration: Option<RegistrationNode>,
    /// Why there is none.
    refusal: Option<RefusalNode>,
}

/// The result of `cancelRegistration`.
#[derive(SimpleObject)]
struct CancelRegistrationPayload {
    /// The cancelled registration.
    registration: Option<RegistrationNode>,
    /// Why it was not cancelled.
    refusal: Option<RefusalNode>,
}

/// The result of `updateEvent`.
#[derive(SimpleObject)]
struct UpdateEventPayload {
    /// The changed event.
    event: Option<EventNode>,
    /// Why it was not changed.
    refusal: Option<RefusalNode>,
}

/// The result of `deleteEvent`.
#[derive(SimpleObject)]
struct DeleteEventPayload {
    /// The id of the deleted event.
    deleted_id: Option<ID>,
    /// Why it was not deleted.
    refusal: Option<RefusalNode>,
}

/// The result of `joinWaitingList`.
#[derive(SimpleObject)]
struct JoinWaitingListPayload {
    /// The member's place on the waiting list.
    entry: Option<WaitingNode>,
    /// Why there is none.
    refusal: Option<RefusalNode>,
}

/// The result of `leaveWaitingList`.
#[derive(SimpleObject)]
struct LeaveWaitingListPayload {
    /// Whether the member left the waiting list.
    left: bool,
    /// Why not.
    refusal: Option<RefusalNode>,
}

#[Object]
impl Mutation {
    /// Creates an event. Only for admins.
    async fn create_event(&self, ctx: &Context<'_>, input: CreateEventInput) -> Answer<EventNode> {
        let source = source(ctx)?;
        let admin = source.ctx.admin().map_err(fail)?;
        let input = valid(input).map_err(fail)?;
        let event = source.manager.event_create(&admin, input).await.map_err(fail)?;
        Ok(EventNode::whole(event))
    }

    /// Changes an event. Refused if members would lose their seats: if the capacity would be lower
    /// than the seats taken, or if a registration does not fit the new schedule. Only for admins.
    async fn update_event(
        &self,
        ctx: &Context<'_>,
        id: ID,
        input: UpdateEventInput,
    ) -> Answer<UpdateEventPayload> {
        let source = source(ctx)?;
        let admin = source.ctx.admin().map_err(fail)?;
        let (id, patch) = (id_or(&id, "event")?, valid(input).map_err(fail)?);
        let updated = source.manager.event_update(&admin, id, patch).await.map_err(fail)?;
        let (event, refusal) = split(updated);
        Ok(UpdateEventPayload { event: event.map(EventNode::whole), refusal })
    }

    /// Deletes an event. Refused if it has future registrations, unless `cancelRegistrations` is
    /// true. Only for admins.
    async fn delete_event(
        &self,
        ctx: &Context<'_>,
        id: ID,
        cancel_registrations: Option<bool>,
    ) -> Answer<DeleteEventPayload> {
        let source = source(ctx)?;
        let admin = source.ctx.admin().map_err(fail)?;
        let id = id_or(&id, "event")?;
        let cancel = cancel_registrations.unwrap_or(false);
        let deleted = source.manager.event_delete(&admin, id, cancel).await.map_err(fail)?;
        let (event, refusal) = split(deleted);
        Ok(DeleteEventPayload { deleted_id: event.map(|e| e.id.to_string().into()), refusal })
    }

    /// Cancels one occurrence and its registrations. Only for admins.
    async fn cancel_occurrence(&self, ctx: &Context<'_>, id: ID) -> Answer<OccurrenceNode> {
        let source = source(ctx)?;
        let admin = source.ctx.admin().map_err(fail)?;
        let id = id_or(&id, "occurrence")?;
        let cancelled = source.manager.occurrence_cancel(&admin, id).await;
        let (occurrence, event) = cancelled.map_err(fail)?;
        Ok(OccurrenceNode { occurrence, event })
    }

    /// Takes a seat for the caller. Admins can name another member.
    async fn register(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<RegisterPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.register(&source.ctx, occurrence, member).await;
        let (registration, refusal) = split(ticket.map_err(fail)?);
        Ok(RegisterPayload { registration: registration.map(RegistrationNode), refusal })
    }

    /// Cancels a registration of the caller; admins can cancel any. The seat goes to the waiting
    /// list.
    async fn cancel_registration(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Answer<CancelRegistrationPayload> {
        let source = source(ctx)?;
        let id: RegistrationId = id_or(&id, "registration")?;
        let ticket = source.manager.registration_cancel(&source.ctx, id).await;
        let (registration, refusal) = split(ticket.map_err(fail)?);
        Ok(CancelRegistrationPayload { registration: registration.map(RegistrationNode), refusal })
    }

    /// Joins the waiting list of a full occurrence. A free seat goes to the first member on the
    /// list who has no other registration at that time.
    async fn join_waiting_list(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<JoinWaitingListPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.waiting_join(&source.ctx, occurrence, member).await;
        let (entry, refusal) = split(ticket.map_err(fail)?);
        let entry = entry.map(|(position, waiter)| WaitingNode { occurrence, position, waiter });
        Ok(JoinWaitingListPayload { entry, refusal })
    }

    /// Leaves the waiting list of an occurrence.
    async fn leave_waiting_list(
        &self,
        ctx: &Context<'_>,
        occurrence_id: ID,
        member_id: Option<ID>,
    ) -> Answer<LeaveWaitingListPayload> {
        let source = source(ctx)?;
        let (occurrence, member) = (id_or(&occurrence_id, "occurrence")?, member(member_id)?);
        let ticket = source.manager.waiting_leave(&source.ctx, occurrence, member).await;
        let (left, refusal) = split(ticket.map_err(fail)?);
        Ok(LeaveWaitingListPayload { left: left.is_some(), refusal })
    }

    /// Creates a new address for the caller's calendar feed. The previous one stops working.
    async fn create_calendar_feed(&self, ctx: &Context<'_>) -> Answer<CalendarFeed> {
        let source = source(ctx)?;
        let token = source.manager.feed_create(&source.ctx).await.map_err(fail)?;
        let base = ctx.data::<PublicUrl>()?;
        Ok(CalendarFeed { url: format!("{base}/calendar/{token}.ics") })
    }

    /// Revokes the address of the caller's calendar feed.
    async fn revoke_calendar_feed(&self, ctx: &Context<'_>) -> Answer<bool> {
        let source = source(ctx)?;
        source.manager.feed_revoke(&source.ctx).await.map_err(fail)?;
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
