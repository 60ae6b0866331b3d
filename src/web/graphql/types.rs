//! The object types of the schema.

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

/// The caller's organization.
pub(super) struct OrganizationNode(pub(super) Arc<Organization>);

#[Object(name = "Organization")]
impl OrganizationNode {
    /// Its id, which never changes.
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

/// A member of the organization. For former members, only the id is known.
pub(super) struct MemberNode {
    pub(super) id: AccountId,
    pub(super) account: Option<Account>,
}

#[Object(name = "Member")]
impl MemberNode {
    /// The account's id.
    async fn id(&self) -> ID {
        self.id.to_string().into()
    }
    /// The person's name, if known.
    async fn name(&self) -> Option<&str> {
        self.account.as_ref()?.name.as_ref().map(domain::Label::as_str)
    }
    /// The address that the account logs in with.
    async fn email(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.email.as_str())
    }
    /// The account's role.
    async fn role(&self) -> Option<MemberRole> {
        self.account.as_ref().map(|account| account.role.into())
    }
}

/// The role of an account.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
#[graphql(remote = "Role")]
pub(super) enum MemberRole {
    /// May change the organization and everything in it.
    Admin,
    /// May read, and manage its own registrations and calendar feed.
    Member,
}

/// An event that takes place once or repeatedly.
pub(super) struct EventNode {
    event: Arc<scheduling::Event>,
    /// Whether `event` has its description.
    described: bool,
}

impl EventNode {
    /// For an event that was read whole.
    pub(super) fn whole(event: scheduling::Event) -> Self {
        Self { event: event.into(), described: true }
    }
}

#[Object(name = "Event")]
impl EventNode {
    /// Its id.
    async fn id(&self) -> ID {
        self.event.id.to_string().into()
    }
    /// Its title.
    async fn title(&self) -> &str {
        self.event.title.as_str()
    }
    /// Its description.
    async fn description(&self, ctx: &Context<'_>) -> Answer<Option<String>> {
        let event = if self.described {
            Some(Arc::clone(&self.event))
        } else {
            let events = ctx.data::<Source>()?.events();
            events.load_one(self.event.id).await.map_err(|e| fail_shared(&e))?
        };
        let text = event.as_ref().and_then(|event| event.description.as_ref());
        counted(ctx, text.map_or(0, String::len))?;
        Ok(text.cloned())
    }
    /// The wall-clock time of its first start, in `timeZone`.
    async fn starts_at(&self) -> Local {
        Local(self.event.schedule.local_start())
    }
    /// The IANA time zone whose clocks it follows.
    async fn time_zone(&self) -> &str {
        self.event.schedule.zone().name()
    }
    /// The duration of each occurrence in minutes.
    async fn duration_minutes(&self) -> u32 {
        self.event.schedule.minutes()
    }
    /// The number of seats of each occurrence.
    async fn capacity(&self) -> i64 {
        self.event.capacity
    }
    /// How it repeats; null if it takes place once.
    async fn recurrence(&self, ctx: &Context<'_>) -> Answer<Option<RecurrenceNode>> {
        let Some(recurrence) = self.event.schedule.recurrence() else { return Ok(None) };
        counted(ctx, DATE_BYTES * (recurrence.excluded.len() + recurrence.additional.len()))?;
        Ok(Some(RecurrenceNode {
            rule: recurrence.rule.as_ref().map(|rule: &Rule| rule.as_str().to_owned()),
            excluded_dates: recurrence.excluded.iter().copied().map(Local).collect(),
            additional_dates: recurrence.additional.iter().copied().map(Local).collect(),
        }))
    }
    /// Increases with every change.
    async fn version(&self) -> i64 {
        self.event.version
    }
    /// When it was created.
    async fn created_at(&self) -> Moment {
        Moment(self.event.created_at)
    }
    /// When it last changed.
    async fn updated_at(&self) -> Moment {
        Moment(self.event.updated_at)
    }
}

/// How an event repeats.
#[derive(SimpleObject)]
#[graphql(name = "Recurrence")]
pub(super) struct RecurrenceNode {
    /// An RRULE (RFC 5545).
    rule: Option<String>,
    /// Starts of the rule that are left out.
    excluded_dates: Vec<Local>,
    /// Starts in addition to those of the rule.
    additional_dates: Vec<Local>,
}

/// One occurrence of an event.
pub(super) struct OccurrenceNode {
    pub(super) occurrence: scheduling::Occurrence,
    pub(super) event: Arc<scheduling::Event>,
}

/// Whether an occurrence takes place.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(super) enum OccurrenceStatus {
    /// It takes place.
    Scheduled,
    /// It was cancelled.
    Cancelled,
}

#[Object(name = "Occurrence")]
impl OccurrenceNode {
    /// `<event id>@<start in UTC>`.
    async fn id(&self) -> ID {
        self.occurrence.id.to_string().into()
    }
    /// The event.
    async fn event(&self) -> EventNode {
        EventNode { event: Arc::clone(&self.event), described: false }
    }
    /// When it starts.
    async fn starts_at(&self) -> Moment {
        Moment(self.occurrence.id.start)
    }
    /// When it ends.
    async fn ends_at(&self) -> Moment {
        Moment(self.occurrence.end)
    }
    /// The number of seats.
    async fn capacity(&self) -> i64 {
        self.occurrence.capacity
    }
    /// The number of seats taken.
    async fn seats_taken(&self) -> i64 {
        self.occurrence.taken
    }
    /// The number of free seats; 0 if the occurrence is cancelled.
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
    /// The number of members on the waiting list.
    async fn waiting_list_length(&self, ctx: &Context<'_>) -> Answer<usize> {
        Ok(self.waiting(ctx).await?.map_or(0, |waiting| waiting.len()))
    }
    /// The caller's place on the waiting list, starting at 1; null if the caller is not on it.
    async fn my_waiting_list_position(&self, ctx: &Context<'_>) -> Answer<Option<usize>> {
        let caller = ctx.data::<Source>()?.ctx.account_id();
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
#[graphql(remote = "scheduling::RegistrationStatus")]
pub(super) enum RegistrationStatus {
    /// It holds a seat.
    Confirmed,
    /// It was cancelled.
    Cancelled,
}

#[Object(name = "Registration")]
impl RegistrationNode {
    /// Its id; cancelling and registering again does not change it.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// The occurrence that the seat is for.
    async fn occurrence(&self, ctx: &Context<'_>) -> Answer<OccurrenceNode> {
        occurrence(ctx, self.0.id.occurrence).await
    }
    /// The member who has the seat.
    async fn member(&self, ctx: &Context<'_>) -> Answer<MemberNode> {
        member(ctx, self.0.id.member).await
    }
    /// Whether it holds a seat.
    async fn status(&self) -> RegistrationStatus {
        self.0.status.into()
    }
    /// When the seat was last taken.
    async fn created_at(&self) -> Moment {
        Moment(self.0.created_at)
    }
    /// When the registration was cancelled.
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
    /// The occurrence that the member waits for.
    async fn occurrence(&self, ctx: &Context<'_>) -> Answer<OccurrenceNode> {
        occurrence(ctx, self.occurrence).await
    }
    /// The waiting member.
    async fn member(&self, ctx: &Context<'_>) -> Answer<MemberNode> {
        member(ctx, self.waiter.member).await
    }
    /// The place on the list, starting at 1.
    async fn position(&self) -> usize {
        self.position
    }
    /// When the member joined the list.
    async fn joined_at(&self) -> Moment {
        Moment(self.waiter.since)
    }
}

/// The address of the caller's registrations for calendar programs.
#[derive(SimpleObject)]
pub(super) struct CalendarFeed {
    /// Anyone who knows this address can read the feed. It is shown only once.
    pub(super) url: String,
}

/// The length of a date in an answer.
const DATE_BYTES: usize = "\"2026-01-31T09:30:00\",".len();

/// Counts `bytes` of text towards the answer. Fails if it becomes too large.
fn counted(ctx: &Context<'_>, bytes: usize) -> Answer<()> {
    ctx.data::<Source>()?.count_text(bytes).map_err(fail)
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
