//! Registrations: registering, cancelling, waiting lists, and listing them.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use futures::future::try_join_all;

use super::{OccurrenceCache, group_commit::BATCH};
use crate::{
    domain::{
        AccountId,
        identity::Account,
        scheduling::{
            Ask, BookingRefusal, Event, Held, OccurrenceId, Outcome, Registration, RegistrationId,
            Request, Seats, Span, Waiter,
        },
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, OrgContext, TenantManager},
    store::tenant::TenantTx,
};

/// The result of a booking, or the reason why it was refused.
pub type BookingResult<T> = Result<T, BookingRefusal>;

/// How many members of a waiting list are read first.
const WAITERS_AT_ONCE: usize = 32;
const NO_OCCURRENCE: Error = Error::NotFound("occurrence");
const NO_REGISTRATION: Error = Error::NotFound("registration");

impl TenantManager {
    /// Registers the caller, or the member that an admin names.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if a member names another one; [`Error::NotFound`] if the occurrence or
    /// the member does not exist; [`Error::Busy`] if too many requests are waiting.
    pub async fn register(
        self: &Arc<Self>,
        ctx: &OrgContext,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<Registration>> {
        let member = self.booking_member(ctx, member).await?;
        let id = RegistrationId { member, occurrence };
        match self.ask(ctx, id, Ask::Register).await? {
            Outcome::Registered(registration) => Ok(Ok(registration)),
            other => other.into_refusal().map(Err),
        }
    }

    /// Cancels a registration: members their own, admins any.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the registration does not exist, or a member names another's;
    /// [`Error::Busy`] if too many requests are waiting.
    pub async fn registration_cancel(
        self: &Arc<Self>,
        ctx: &OrgContext,
        id: RegistrationId,
    ) -> Result<BookingResult<Registration>> {
        if id.member != ctx.account_id() && ctx.admin().is_err() {
            return Err(NO_REGISTRATION);
        }
        let known = self.registrations_among(ctx, vec![id]).await?;
        if known.is_empty() {
            return Err(NO_REGISTRATION);
        }
        match self.ask(ctx, id, Ask::Cancel).await? {
            Outcome::Cancelled(registration) => Ok(Ok(registration)),
            Outcome::Unknown => Err(NO_REGISTRATION),
            other => other.into_refusal().map(Err),
        }
    }

    /// Adds the caller, or the member that an admin names, to the waiting list of a full occurrence
    /// and returns the position, counted from 1.
    ///
    /// # Errors
    /// As [`TenantManager::register`].
    pub async fn waiting_join(
        self: &Arc<Self>,
        ctx: &OrgContext,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<(usize, Waiter)>> {
        let member = self.booking_member(ctx, member).await?;
        match self.ask(ctx, RegistrationId { member, occurrence }, Ask::Join).await? {
            Outcome::Waiting(position, waiter) => Ok(Ok((position, waiter))),
            other => other.into_refusal().map(Err),
        }
    }

    /// Removes the caller, or the member that an admin names, from the waiting list.
    ///
    /// # Errors
    /// As [`TenantManager::register`].
    pub async fn waiting_leave(
        self: &Arc<Self>,
        ctx: &OrgContext,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<()>> {
        let member = self.booking_member(ctx, member).await?;
        match self.ask(ctx, RegistrationId { member, occurrence }, Ask::Leave).await? {
            Outcome::Left => Ok(Ok(())),
            other => other.into_refusal().map(Err),
        }
    }

    /// A member's registrations for occurrences in `span`, ordered by start.
    pub async fn registrations_of(
        &self,
        ctx: &OrgContext,
        member: AccountId,
        span: Span,
        held: Held,
        after: Option<OccurrenceId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        if member != ctx.account_id() {
            self.member_known(ctx, ctx.admin()?, member).await?;
        }
        self.tenant_read(ctx, "registration.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.registrations_of(member, span, held, after, limit).await })
        })
        .await
    }

    /// The registrations for one occurrence, ordered by member id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the occurrence does not exist.
    pub async fn attendees_of(
        &self,
        ctx: &AdminContext,
        occurrence: OccurrenceId,
        held: Held,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        self.occurrence_get(ctx, occurrence).await?.ok_or(NO_OCCURRENCE)?;
        self.tenant_read(ctx, "attendee.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.attendees_of(occurrence, held, after, limit).await })
        })
        .await
    }

    /// The registrations among `ids` that exist, in no particular order.
    pub async fn registrations_among(
        &self,
        ctx: &OrgContext,
        ids: Vec<RegistrationId>,
    ) -> Result<Vec<Registration>> {
        let found = self
            .tenant_read(ctx, "registration.get", ids, |mut reader, ids| {
                Box::pin(async move { reader.registrations_among(ids).await })
            })
            .await?;
        Ok(found.unwrap_or_default())
    }

    /// The waiting lists of `ids`.
    pub async fn waiting_among(
        &self,
        ctx: &OrgContext,
        ids: Vec<OccurrenceId>,
    ) -> Result<HashMap<OccurrenceId, Vec<Waiter>>> {
        let found = self
            .tenant_read(ctx, "waiting.get", ids, |mut reader, ids| {
                Box::pin(async move { reader.waiting_among(ids).await })
            })
            .await?;
        Ok(found.unwrap_or_default())
    }

    /// The organization's accounts among `ids`, in no particular order.
    pub async fn members_among(&self, ctx: &OrgContext, ids: &[AccountId]) -> Result<Vec<Account>> {
        self.store.accounts_among(ctx.org_id(), ids).await
    }

    /// Removes a member from all upcoming occurrences and waiting lists. It closes the member's
    /// calendar first: a concurrent registration writes the calendar too, so it either commits
    /// before and is found here, or is refused.
    pub(in crate::manager) async fn member_release(
        self: &Arc<Self>,
        ctx: &OrgContext,
        member: AccountId,
    ) -> Result<()> {
        self.tenant_write(ctx, "member.close", (), move |mut tx, ()| {
            Box::pin(async move { tx.close_calendar(member).await })
        })
        .await?;
        failpoint!("member_release.after_close");
        let waits = self
            .tenant_read(ctx, "waiting.list", (), move |mut reader, ()| {
                Box::pin(async move { reader.waits_of(member).await })
            })
            .await?;
        let of = |occurrence| RegistrationId { member, occurrence };
        let leave = |occurrence| Request { id: of(occurrence), ask: Ask::Leave };
        self.settle_together(ctx, waits.into_iter().map(leave).collect()).await?;
        failpoint!("member_release.after_leave");
        let now = self.clock.now();
        let ahead = Span { from: now, to: DateTime::<Utc>::MAX_UTC };
        let held = self
            .tenant_read(
                &ctx.until(self.deadline()),
                "registration.list",
                (),
                move |mut reader, ()| {
                    Box::pin(async move {
                        reader.registrations_of(member, ahead, Held::Confirmed, None, 0).await
                    })
                },
            )
            .await?;
        let held = held.into_iter().filter(|held| held.id.occurrence.start > now);
        let cancel = |held: Registration| Request { id: held.id, ask: Ask::Cancel };
        self.settle_together(ctx, held.map(cancel).collect()).await
    }

    /// Settles many requests, [`BATCH`] at a time.
    async fn settle_together(
        self: &Arc<Self>,
        ctx: &OrgContext,
        requests: Vec<Request>,
    ) -> Result<()> {
        for some in requests.chunks(BATCH) {
            let ctx = &ctx.until(self.deadline());
            try_join_all(some.iter().map(|request| self.settle(ctx, *request))).await?;
        }
        Ok(())
    }

    /// Settles a batch of requests in one transaction.
    pub(in crate::manager) async fn settle_batch(
        &self,
        ctx: &OrgContext,
        requests: &[Request],
    ) -> Result<Vec<Outcome>> {
        let context = (&self.clock, &self.scheduling.occurrence_cache, requests);
        let _lock = self.lock_seats(ctx).await?;
        self.tenant_write(
            ctx,
            "registration",
            context,
            |mut tx, (clock, occurrence_cache, requests)| {
                Box::pin(async move {
                    settle_in(&mut tx, occurrence_cache, requests, clock.now()).await
                })
            },
        )
        .await
    }

    async fn ask(
        self: &Arc<Self>,
        ctx: &OrgContext,
        id: RegistrationId,
        ask: Ask,
    ) -> Result<Outcome> {
        let outcome = self.settle(ctx, Request { id, ask }).await?;
        let code = match &outcome {
            Outcome::Refused(refusal) => refusal.code.into(),
            Outcome::Unknown => "not_found",
            Outcome::Gone => "gone",
            _ => "ok",
        };
        metrics::counter!("tenantry_registrations_total", "ask" => <&str>::from(ask), "outcome" => code)
            .increment(1);
        match outcome {
            // The account was deleted after the request was authenticated.
            Outcome::Gone if id.member == ctx.account_id() => Err(Error::Unauthenticated),
            Outcome::Gone => Err(Error::NotFound("member")),
            outcome => Ok(outcome),
        }
    }

    /// The member that a request is for; only admins may name another one.
    async fn booking_member(
        &self,
        ctx: &OrgContext,
        member: Option<AccountId>,
    ) -> Result<AccountId> {
        match member {
            None => Ok(ctx.account_id()),
            Some(member) if member == ctx.account_id() => Ok(member),
            Some(member) => {
                self.member_known(ctx, ctx.admin()?, member).await?;
                Ok(member)
            }
        }
    }

    async fn member_known(
        &self,
        ctx: &OrgContext,
        _admin: AdminContext,
        member: AccountId,
    ) -> Result<()> {
        let found = self.members_among(ctx, &[member]).await?;
        if found.is_empty() { Err(Error::NotFound("member")) } else { Ok(()) }
    }
}

impl Outcome {
    /// The refusal, or the error for an outcome that does not fit the request.
    fn into_refusal(self) -> Result<BookingRefusal> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Unknown => Err(NO_OCCURRENCE),
            other => Err(Error::Internal(format!("an unexpected outcome: {other:?}"))),
        }
    }
}

async fn settle_in(
    tx: &mut TenantTx<'_>,
    occurrence_cache: &OccurrenceCache,
    requests: &[Request],
    now: DateTime<Utc>,
) -> Result<Vec<Outcome>> {
    let ids: Vec<RegistrationId> = requests.iter().map(|request| request.id).collect();
    tx.claim_on_retry(ids.iter().map(|id| id.occurrence)).await?;
    let starts_at = |event: &Event, start| occurrence_cache.starts_at(event, start);
    let occurrences = ids.iter().map(|id| id.occurrence).collect();
    let seats = tx.reader().seats_of(occurrences, &ids, now, &starts_at).await?;
    let settle =
        |seats: &mut Seats| requests.iter().map(|request| seats.settle(*request)).collect();
    let (seats, outcomes) = with_waiters(tx, seats, settle).await?;
    failpoint!("registration.before_write");
    failpoint!("registration.forget_reads", tx.restart().await?);
    tx.write_seats(&seats).await?;
    failpoint!("registration.before_commit");
    Ok(outcomes)
}

/// Settles on a copy of the seats, and reads further waiting members and repeats until all who may
/// get a free seat are included. It reads a few at a time, because a thousand may wait for one
/// seat.
pub(in crate::manager) async fn with_waiters<T>(
    tx: &mut TenantTx<'_>,
    mut seats: Seats,
    settle: impl Fn(&mut Seats) -> T,
) -> Result<(Seats, T)> {
    let mut count = WAITERS_AT_ONCE;
    loop {
        let mut settled = seats.clone();
        let outcome = settle(&mut settled);
        let unread = settled.unread(count);
        if unread.is_empty() {
            return Ok((settled, outcome));
        }
        tx.reader().extend_seats(&mut seats, &unread).await?;
        count *= 2;
    }
}
