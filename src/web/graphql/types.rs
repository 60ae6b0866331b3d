//! What queries and mutations answer with.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::{
    failure::{Answer, fail, fail_shared},
    loaders::Source,
    scalars::{Local, Moment},
};
use crate::{
    domain::{
        self, AccountId,
        identity::{Account, Role},
        scheduling::{self, Rule},
        tenancy::Organization,
    },
    error::Error,
};

/// The organization that the caller belongs to.
pub(super) struct OrganizationNode(pub(super) Arc<Organization>);

#[Object(name = "Organization")]
impl OrganizationNode {
    /// Its identity, which a new name does not change.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// When it signed up.
    async fn created_at(&self) -> Moment {
        Moment(self.0.created_at)
    }
}

/// A member of the organization. Of one who has left, only the identity is known.
pub(super) struct MemberNode {
    pub(super) id: AccountId,
    pub(super) account: Option<Account>,
}

#[Object(name = "Member")]
impl MemberNode {
    /// The account's identity.
    async fn id(&self) -> ID {
        self.id.to_string().into()
    }
    /// The person's name, if one was given.
    async fn name(&self) -> Option<&str> {
        self.account.as_ref()?.name.as_ref().map(domain::Label::as_str)
    }
    /// The address that the account logs in with.
    async fn email(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.email.as_str())
    }
    /// What the account may do.
    async fn role(&self) -> Option<MemberRole> {
        self.account.as_ref().map(|account| match account.role {
            Role::Admin => MemberRole::Admin,
            Role::Member => MemberRole::Member,
        })
    }
}

/// What an account may do.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(super) enum MemberRole {
    /// May change the organization and everything in it.
    Admin,
    /// May read, and manage what is its own.
    Member,
}

/// Something scheduled, once or again and again.
pub(super) struct EventNode(pub(super) Arc<scheduling::Event>);

#[Object(name = "Event")]
impl EventNode {
    /// Its identity.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Its title.
    async fn title(&self) -> &str {
        self.0.title.as_str()
    }
    /// What it is about.
    async fn description(&self, ctx: &Context<'_>) -> Answer<Option<&str>> {
        let text = self.0.description.as_deref();
        counted(ctx, text.map_or(0, str::len))?;
        Ok(text)
    }
    /// The wall-clock time of its first start, in `timeZone`.
    async fn starts_at(&self) -> Local {
        Local(self.0.schedule.local_start())
    }
    /// The IANA time zone whose clocks it follows.
    async fn time_zone(&self) -> &str {
        self.0.schedule.zone().name()
    }
    /// How long each occurrence lasts.
    async fn duration_minutes(&self) -> u32 {
        self.0.schedule.minutes()
    }
    /// Seats of each occurrence.
    async fn capacity(&self) -> i64 {
        self.0.capacity
    }
    /// How it is repeated; null if it takes place once.
    async fn recurrence(&self, ctx: &Context<'_>) -> Answer<Option<RecurrenceNode>> {
        let Some(recurrence) = self.0.schedule.recurrence() else { return Ok(None) };
        counted(ctx, DATE_BYTES * (recurrence.excluded.len() + recurrence.additional.len()))?;
        Ok(Some(RecurrenceNode {
            rule: recurrence.rule.as_ref().map(|rule: &Rule| rule.as_str().to_owned()),
            excluded_dates: recurrence.excluded.iter().copied().map(Local).collect(),
            additional_dates: recurrence.additional.iter().copied().map(Local).collect(),
        }))
    }
    /// Rises with every change.
    async fn version(&self) -> i64 {
        self.0.version
    }
    /// When it was made.
    async fn created_at(&self) -> Moment {
        Moment(self.0.created_at)
    }
    /// When it last changed.
    async fn updated_at(&self) -> Moment {
        Moment(self.0.updated_at)
    }
}

/// How an event is repeated.
#[derive(SimpleObject)]
#[graphql(name = "Recurrence")]
pub(super) struct RecurrenceNode {
    /// An RRULE of RFC 5545.
    rule: Option<String>,
    /// Starts that the rule gives and that do not take place.
    excluded_dates: Vec<Local>,
    /// Starts that the rule does not give and that do take place.
    additional_dates: Vec<Local>,
}

/// One concrete happening of an event.
pub(super) struct OccurrenceNode {
    pub(super) occurrence: scheduling::Occurrence,
    pub(super) event: Arc<scheduling::Event>,
}

/// Whether an occurrence takes place.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(super) enum OccurrenceStatus {
    /// It does.
    Scheduled,
    /// It was called off.
    Cancelled,
}

#[Object(name = "Occurrence")]
impl OccurrenceNode {
    /// `<event id>@<start in UTC>`.
    async fn id(&self) -> ID {
        self.occurrence.id.to_string().into()
    }
    /// What takes place.
    async fn event(&self) -> EventNode {
        EventNode(Arc::clone(&self.event))
    }
    /// When it starts.
    async fn starts_at(&self) -> Moment {
        Moment(self.occurrence.id.start)
    }
    /// When it ends.
    async fn ends_at(&self) -> Moment {
        Moment(self.occurrence.end)
    }
    /// How many seats there are.
    async fn capacity(&self) -> i64 {
        self.occurrence.capacity
    }
    /// How many of them are taken.
    async fn seats_taken(&self) -> i64 {
        self.occurrence.taken
    }
    /// How many of them are free; 0 if the occurrence is cancelled.
    async fn seats_left(&self) -> i64 {
        self.occurrence.left()
    }
    /// Whether it takes place.
    async fn status(&self) -> OccurrenceStatus {
        match self.occurrence.status {
            scheduling::OccurrenceStatus::Scheduled => OccurrenceStatus::Scheduled,
            scheduling::OccurrenceStatus::Cancelled | scheduling::OccurrenceStatus::Withdrawn => {
                OccurrenceStatus::Cancelled
            }
        }
    }
    /// How many wait for a seat.
    async fn waiting_list_length(&self, ctx: &Context<'_>) -> Answer<usize> {
        Ok(self.waiting(ctx).await?.map_or(0, |waiting| waiting.len()))
    }
    /// The caller's place on the waiting list, counted from 1; null if the caller does not wait.
    async fn my_waiting_list_position(&self, ctx: &Context<'_>) -> Answer<Option<usize>> {
        let caller = ctx.data::<Source>()?.scope.account_id();
        let waiting = self.waiting(ctx).await?;
        let place = waiting.and_then(|list| list.iter().position(|w| w.member == caller));
        Ok(place.map(|place| place + 1))
    }
}

impl OccurrenceNode {
    async fn waiting(&self, ctx: &Context<'_>) -> Answer<Option<Arc<Vec<scheduling::Waiter>>>> {
        let source = ctx.data::<Source>()?;
        source.waiting().load_one(self.occurrence.id).await.map_err(|e| fail_shared(&e))
    }
}

/// A member's seat at one occurrence.
pub(super) struct RegistrationNode(pub(super) scheduling::Registration);

/// Whether a registration holds a seat.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(super) enum RegistrationStatus {
    /// It does.
    Confirmed,
    /// It does no more.
    Cancelled,
}

#[Object(name = "Registration")]
impl RegistrationNode {
    /// Its identity; cancelling and registering again does not change it.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What the seat is for.
    async fn occurrence(&self, ctx: &Context<'_>) -> Answer<OccurrenceNode> {
        occurrence(ctx, self.0.id.occurrence).await
    }
    /// Whose seat it is.
    async fn member(&self, ctx: &Context<'_>) -> Answer<MemberNode> {
        member(ctx, self.0.id.member).await
    }
    /// Whether it holds a seat.
    async fn status(&self) -> RegistrationStatus {
        match self.0.status {
            scheduling::RegistrationStatus::Confirmed => RegistrationStatus::Confirmed,
            scheduling::RegistrationStatus::Cancelled => RegistrationStatus::Cancelled,
        }
    }
    /// When the seat was taken, the last time.
    async fn created_at(&self) -> Moment {
        Moment(self.0.created_at)
    }
    /// When it was given back.
    async fn cancelled_at(&self) -> Option<Moment> {
        self.0.cancelled_at.map(Moment)
    }
}

/// A place on a waiting list.
pub(super) struct WaitingNode {
    pub(super) occurrence: scheduling::OccurrenceId,
    pub(super) position: usize,
    pub(super) waiter: scheduling::Waiter,
}

#[Object(name = "WaitingListEntry")]
impl WaitingNode {
    /// What the member waits for.
    async fn occurrence(&self, ctx: &Context<'_>) -> Answer<OccurrenceNode> {
        occurrence(ctx, self.occurrence).await
    }
    /// Who waits.
    async fn member(&self, ctx: &Context<'_>) -> Answer<MemberNode> {
        member(ctx, self.waiter.member).await
    }
    /// The place on the list, counted from 1.
    async fn position(&self) -> usize {
        self.position
    }
    /// Since when.
    async fn joined_at(&self) -> Moment {
        Moment(self.waiter.since)
    }
}

/// An address at which calendar programs find the caller's registrations.
#[derive(SimpleObject)]
pub(super) struct CalendarFeed {
    /// Whoever knows it can read the feed. It is shown this once.
    pub(super) url: String,
}

/// A date in an answer.
const DATE_BYTES: usize = "\"2026-01-31T09:30:00\",".len();

/// Counts a text of so many bytes, unless the answer would become too large.
fn counted(ctx: &Context<'_>, bytes: usize) -> Answer<()> {
    ctx.data::<Source>()?.take_text(bytes).map_err(fail)
}

async fn occurrence(ctx: &Context<'_>, id: scheduling::OccurrenceId) -> Answer<OccurrenceNode> {
    let source = ctx.data::<Source>()?;
    let found = source.occurrences().load_one(id).await.map_err(|e| fail_shared(&e))?;
    let (occurrence, event) = found.ok_or_else(|| fail(Error::NotFound("occurrence")))?;
    Ok(OccurrenceNode { occurrence, event })
}

async fn member(ctx: &Context<'_>, id: AccountId) -> Answer<MemberNode> {
    let source = ctx.data::<Source>()?;
    let account = source.members().load_one(id).await.map_err(|e| fail_shared(&e))?;
    Ok(MemberNode { id, account })
}
