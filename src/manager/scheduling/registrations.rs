//! Seats: registering, cancelling, waiting, and the lists of who has one.

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
    manager::{AdminScope, OrgScope, TenantManager},
    store::tenant::TenantTx,
};

/// What somebody has got: a seat, a place on the list, or a reason why not.
pub type BookingResult<T> = Result<T, BookingRefusal>;

/// How many of those who wait are read first.
const WAITERS_AT_ONCE: usize = 32;
const NO_OCCURRENCE: Error = Error::NotFound("occurrence");
const NO_REGISTRATION: Error = Error::NotFound("registration");

impl TenantManager {
    /// Takes a seat for the caller, or for the member whom an admin names.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when a member names another; [`Error::NotFound`] for an occurrence or a
    /// member that does not exist; [`Error::Busy`]; the store's.
    pub async fn register(
        self: &Arc<Self>,
        scope: &OrgScope,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<Registration>> {
        let member = self.on_behalf(scope, member).await?;
        let id = RegistrationId { member, occurrence };
        match self.ask(scope, id, Ask::Register).await? {
            Outcome::Registered(registration) => Ok(Ok(registration)),
            other => other.into_refusal().map(Err),
        }
    }

    /// Gives a seat back: the caller's own, or as an admin anybody's.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a registration that does not exist or is somebody else's;
    /// [`Error::Busy`]; the store's.
    pub async fn registration_cancel(
        self: &Arc<Self>,
        scope: &OrgScope,
        id: RegistrationId,
    ) -> Result<BookingResult<Registration>> {
        if id.member != scope.account_id() && scope.admin().is_err() {
            return Err(NO_REGISTRATION);
        }
        let known = self.registrations_among(scope, vec![id]).await?;
        if known.is_empty() {
            return Err(NO_REGISTRATION);
        }
        match self.ask(scope, id, Ask::Cancel).await? {
            Outcome::Cancelled(registration) => Ok(Ok(registration)),
            Outcome::Unknown => Err(NO_REGISTRATION),
            other => other.into_refusal().map(Err),
        }
    }

    /// Puts the caller, or the member whom an admin names, on the waiting list of a full occurrence;
    /// the place, counted from 1.
    ///
    /// # Errors
    /// As [`TenantManager::register`].
    pub async fn waiting_join(
        self: &Arc<Self>,
        scope: &OrgScope,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<(usize, Waiter)>> {
        let member = self.on_behalf(scope, member).await?;
        match self.ask(scope, RegistrationId { member, occurrence }, Ask::Join).await? {
            Outcome::Waiting(position, waiter) => Ok(Ok((position, waiter))),
            other => other.into_refusal().map(Err),
        }
    }

    /// Takes the caller, or the member whom an admin names, off the waiting list.
    ///
    /// # Errors
    /// As [`TenantManager::register`].
    pub async fn waiting_leave(
        self: &Arc<Self>,
        scope: &OrgScope,
        occurrence: OccurrenceId,
        member: Option<AccountId>,
    ) -> Result<BookingResult<()>> {
        let member = self.on_behalf(scope, member).await?;
        match self.ask(scope, RegistrationId { member, occurrence }, Ask::Leave).await? {
            Outcome::Left => Ok(Ok(())),
            other => other.into_refusal().map(Err),
        }
    }

    /// A member's registrations for what takes place in `span`, in the order of their starts.
    ///
    /// # Errors
    /// The store's.
    pub async fn registrations_of(
        &self,
        scope: &OrgScope,
        member: AccountId,
        span: Span,
        held: Held,
        after: Option<OccurrenceId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        if member != scope.account_id() {
            self.member_known(scope, scope.admin()?, member).await?;
        }
        self.tenant_read(scope, "registration.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.registrations_of(member, span, held, after, limit).await })
        })
        .await
    }

    /// The registrations for one occurrence, in the order of the members' ids.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an occurrence that does not exist; the store's.
    pub async fn attendees_of(
        &self,
        scope: &AdminScope,
        occurrence: OccurrenceId,
        held: Held,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        self.occurrence_get(scope, occurrence).await?.ok_or(NO_OCCURRENCE)?;
        self.tenant_read(scope, "attendee.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.attendees_of(occurrence, held, after, limit).await })
        })
        .await
    }

    /// The registrations among `ids`, in no order.
    ///
    /// # Errors
    /// The store's.
    pub async fn registrations_among(
        &self,
        scope: &OrgScope,
        ids: Vec<RegistrationId>,
    ) -> Result<Vec<Registration>> {
        let found = self
            .tenant_read(scope, "registration.get", ids, |mut reader, ids| {
                Box::pin(async move { reader.registrations_among(ids).await })
            })
            .await?;
        Ok(found.unwrap_or_default())
    }

    /// Who waits for each of `ids`.
    ///
    /// # Errors
    /// The store's.
    pub async fn waiting_among(
        &self,
        scope: &OrgScope,
        ids: Vec<OccurrenceId>,
    ) -> Result<HashMap<OccurrenceId, Vec<Waiter>>> {
        let found = self
            .tenant_read(scope, "waiting.get", ids, |mut reader, ids| {
                Box::pin(async move { reader.waiting_among(ids).await })
            })
            .await?;
        Ok(found.unwrap_or_default())
    }

    /// The accounts of the organization among `ids`, in no order.
    ///
    /// # Errors
    /// The store's.
    pub async fn members_among(&self, scope: &OrgScope, ids: &[AccountId]) -> Result<Vec<Account>> {
        self.store.accounts_among(scope.org_id(), ids).await
    }

    /// Takes a member out of everything that is ahead. The calendar is closed first: a registration
    /// that is under way writes it, too, so it comes in before that and is found, or not at all.
    pub(in crate::manager) async fn member_release(
        self: &Arc<Self>,
        scope: &OrgScope,
        member: AccountId,
    ) -> Result<()> {
        self.tenant_write(scope, "member.close", (), move |mut tx, ()| {
            Box::pin(async move { tx.close_calendar(member).await })
        })
        .await?;
        failpoint!("member_release.after_close");
        let waits = self
            .tenant_read(scope, "waiting.list", (), move |mut reader, ()| {
                Box::pin(async move { reader.waits_of(member).await })
            })
            .await?;
        let of = |occurrence| RegistrationId { member, occurrence };
        let leave = |occurrence| Request { id: of(occurrence), ask: Ask::Leave };
        self.settle_together(scope, waits.into_iter().map(leave).collect()).await?;
        failpoint!("member_release.after_leave");
        let now = self.clock.now();
        let ahead = Span { from: now, to: DateTime::<Utc>::MAX_UTC };
        let held = self
            .tenant_read(scope, "registration.list", (), move |mut reader, ()| {
                Box::pin(async move {
                    reader.registrations_of(member, ahead, Held::Confirmed, None, 0).await
                })
            })
            .await?;
        let held = held.into_iter().filter(|held| held.id.occurrence.start > now);
        let cancel = |held: Registration| Request { id: held.id, ask: Ask::Cancel };
        self.settle_together(scope, held.map(cancel).collect()).await
    }

    /// Has many requests settled, some at a time.
    async fn settle_together(
        self: &Arc<Self>,
        scope: &OrgScope,
        requests: Vec<Request>,
    ) -> Result<()> {
        for some in requests.chunks(BATCH) {
            try_join_all(some.iter().map(|request| self.settle(scope, *request))).await?;
        }
        Ok(())
    }

    /// Answers a batch of requests in one transaction, when it is its turn.
    pub(in crate::manager) async fn settle_batch(
        &self,
        scope: &OrgScope,
        requests: &[Request],
    ) -> Result<Vec<Outcome>> {
        let context = (&self.clock, &self.scheduling.occurrence_cache, requests);
        let _turn = self.seats_turn(scope).await?;
        self.tenant_write(
            scope,
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
        scope: &OrgScope,
        id: RegistrationId,
        ask: Ask,
    ) -> Result<Outcome> {
        let outcome = self.settle(scope, Request { id, ask }).await?;
        let code = match &outcome {
            Outcome::Refused(refusal) => refusal.code.into(),
            Outcome::Unknown => "not_found",
            Outcome::Gone => "gone",
            _ => "ok",
        };
        metrics::counter!("tenantry_registrations_total", "ask" => <&str>::from(ask), "outcome" => code)
            .increment(1);
        match outcome {
            // The token was good when the request came in.
            Outcome::Gone if id.member == scope.account_id() => Err(Error::Unauthenticated),
            Outcome::Gone => Err(Error::NotFound("member")),
            outcome => Ok(outcome),
        }
    }

    /// Whose seat it is about.
    async fn on_behalf(&self, scope: &OrgScope, member: Option<AccountId>) -> Result<AccountId> {
        match member {
            None => Ok(scope.account_id()),
            Some(member) if member == scope.account_id() => Ok(member),
            Some(member) => {
                self.member_known(scope, scope.admin()?, member).await?;
                Ok(member)
            }
        }
    }

    async fn member_known(
        &self,
        scope: &OrgScope,
        _admin: AdminScope,
        member: AccountId,
    ) -> Result<()> {
        let found = self.members_among(scope, &[member]).await?;
        if found.is_empty() { Err(Error::NotFound("member")) } else { Ok(()) }
    }
}

impl Outcome {
    /// The refusal that it is, or the error.
    fn into_refusal(self) -> Result<BookingRefusal> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Unknown => Err(NO_OCCURRENCE),
            other => Err(Error::Internal(format!("an outcome that nobody asked for: {other:?}"))),
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
    tx.claim_if_again(ids.iter().map(|id| id.occurrence)).await?;
    let starts_at = |event: &Event, start| occurrence_cache.starts_at(event, start);
    let occurrences = ids.iter().map(|id| id.occurrence).collect();
    let seats = tx.reader().seats_of(occurrences, &ids, now, &starts_at).await?;
    let settle =
        |seats: &mut Seats| requests.iter().map(|request| seats.settle(*request)).collect();
    let (seats, outcomes) = with_waiters(tx, seats, settle).await?;
    failpoint!("registration.before_write");
    tx.write_seats(&seats).await?;
    failpoint!("registration.before_commit");
    Ok(outcomes)
}

/// Settles on a copy of the seats until everybody is in it to whom a free seat may belong. Of those
/// who wait a few are read at a time, since a thousand may wait for one seat.
pub(in crate::manager) async fn with_waiters<T>(
    tx: &mut TenantTx<'_>,
    mut seats: Seats,
    settle: impl Fn(&mut Seats) -> T,
) -> Result<(Seats, T)> {
    let mut many = WAITERS_AT_ONCE;
    loop {
        let mut settled = seats.clone();
        let outcome = settle(&mut settled);
        let unread = settled.unread(many);
        if unread.is_empty() {
            return Ok((settled, outcome));
        }
        tx.reader().extend_seats(&mut seats, &unread).await?;
        many *= 2;
    }
}
