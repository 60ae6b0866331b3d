//! The root fields that read data.

use async_graphql::{Context, ID, Object, connection::Connection};
use chrono::{DateTime, Datelike, Duration, Utc};

use super::{
    failure::{Answer, fail},
    id_of, id_or,
    pages::{DEFAULT_PAGE, Page},
    scalars::Moment,
    source,
    types::{EventNode, OccurrenceNode, OrganizationNode, RegistrationNode},
};
use crate::{
    domain::{
        AccountId, EventId, Invalid,
        scheduling::{Held, OccurrenceId, Registration, Span},
    },
    error::{Error, FieldErrors},
    manager::scheduling::Window,
};

/// The root of queries.
pub(super) struct Query;

const LONGEST_WINDOW: Duration = Duration::days(366);
/// The accepted years, so that sums of dates cannot overflow.
const YEARS: std::ops::Range<i32> = 1900..2200;

#[Object]
impl Query {
    /// The caller's organization.
    async fn organization(&self, ctx: &Context<'_>) -> Answer<OrganizationNode> {
        let source = source(ctx)?;
        let org = source.manager.tenant_cache().organization(source.ctx.org_id()).await;
        let org = org.map_err(fail)?.ok_or_else(|| fail(Error::NotFound("organization")))?;
        Ok(OrganizationNode(org))
    }

    /// One event; null if there is none.
    async fn event(&self, ctx: &Context<'_>, id: ID) -> Answer<Option<EventNode>> {
        let source = source(ctx)?;
        let Some(id) = id_of(&id) else { return Ok(None) };
        let event = source.manager.event_get(&source.ctx, id).await.map_err(fail)?;
        Ok(event.map(EventNode::whole))
    }

    /// All events, oldest first.
    #[graphql(complexity = "page_complexity(first, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The page size, 1 to 500; 50 by default.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page starts.")] after: Option<String>,
    ) -> Answer<Connection<String, EventNode>> {
        let source = source(ctx)?;
        let page: Page<EventId> = Page::parse(first, after)?;
        let limit = page.probe_limit();
        let events = source.manager.event_list(&source.ctx, page.after, limit).await;
        let events = events.map_err(fail)?.into_iter().map(|e| (e.id, EventNode::whole(e)));
        Ok(page.connection(events.collect()))
    }

    /// Occurrences that overlap with `[from, to)`, an interval of at most 366 days, ordered by
    /// start.
    #[graphql(complexity = "page_complexity(first, child_complexity)")]
    async fn occurrences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The start of the interval.")] from: Moment,
        #[graphql(desc = "The end of the interval, exclusive.")] to: Moment,
        #[graphql(desc = "Only occurrences of this event.")] event_id: Option<ID>,
        #[graphql(desc = "The page size, 1 to 500; 50 by default.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page starts.")] after: Option<String>,
    ) -> Answer<Connection<String, OccurrenceNode>> {
        let source = source(ctx)?;
        let mut errors = FieldErrors::default();
        let page: Option<Page<OccurrenceId>> = Page::check(first, after, &mut errors);
        let span = window(from, to, &mut errors);
        let (page, span) = errors.into_result(page.zip(span)).map_err(fail)?;
        let event = event_id.map(|id| id_or(&id, "event")).transpose()?;
        let window = Window { span, event, after: page.after, limit: page.probe_limit() };
        let listed = source.manager.occurrence_list(&source.ctx, window).await.map_err(fail)?;
        let items = listed
            .into_iter()
            .map(|(occurrence, event)| (occurrence.id, OccurrenceNode { occurrence, event }));
        Ok(page.connection(items.collect()))
    }

    /// One occurrence; null if there is none.
    async fn occurrence(&self, ctx: &Context<'_>, id: ID) -> Answer<Option<OccurrenceNode>> {
        let source = source(ctx)?;
        let Some(id) = id_of(&id) else { return Ok(None) };
        let found = source.manager.occurrence_get(&source.ctx, id).await.map_err(fail)?;
        Ok(found.map(|(occurrence, event)| OccurrenceNode { occurrence, event }))
    }

    /// The caller's registrations, ordered by the occurrences' start.
    #[graphql(complexity = "page_complexity(first, child_complexity)")]
    async fn my_registrations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only for occurrences that end after this.")] from: Option<Moment>,
        #[graphql(desc = "Only for occurrences that start before this.")] to: Option<Moment>,
        #[graphql(desc = "Whether to include cancelled registrations.")] include_cancelled: Option<
            bool,
        >,
        #[graphql(desc = "The page size, 1 to 500; 50 by default.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page starts.")] after: Option<String>,
    ) -> Answer<Connection<String, RegistrationNode>> {
        let source = source(ctx)?;
        let mut errors = FieldErrors::default();
        let page: Option<Page<OccurrenceId>> = Page::check(first, after, &mut errors);
        let from = errors.check("from", from.map_or(Ok(DateTime::UNIX_EPOCH), sensible));
        let to = errors.check("to", to.map_or(Ok(DateTime::<Utc>::MAX_UTC), sensible));
        let span = from.zip(to).map(|(from, to)| Span { from, to });
        let (page, span) = errors.into_result(page.zip(span)).map_err(fail)?;
        let (caller, held) = (source.ctx.account_id(), held(include_cancelled));
        let (after, limit) = (page.after, page.probe_limit());
        let found = source.manager.registrations_of(&source.ctx, caller, span, held, after, limit);
        Ok(page.connection(by_occurrence(found.await.map_err(fail)?)))
    }

    /// The registrations of one member or for one occurrence: exactly one of the two is required.
    /// Only for admins.
    #[graphql(complexity = "page_complexity(first, child_complexity)")]
    async fn registrations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this member, ordered by the occurrences' start.")] member_id: Option<
            ID,
        >,
        #[graphql(desc = "For this occurrence, ordered by the members' ids.")]
        occurrence_id: Option<ID>,
        #[graphql(desc = "Whether to include cancelled registrations.")] include_cancelled: Option<
            bool,
        >,
        #[graphql(desc = "The page size, 1 to 500; 50 by default.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page starts.")] after: Option<String>,
    ) -> Answer<Connection<String, RegistrationNode>> {
        let source = source(ctx)?;
        let admin = source.ctx.admin().map_err(fail)?;
        let held = held(include_cancelled);
        match (member_id, occurrence_id) {
            (Some(member), None) => {
                let page: Page<OccurrenceId> = Page::parse(first, after)?;
                let member: AccountId = id_or(&member, "member")?;
                let always = Span { from: DateTime::UNIX_EPOCH, to: DateTime::<Utc>::MAX_UTC };
                let (after, limit) = (page.after, page.probe_limit());
                let found =
                    source.manager.registrations_of(&admin, member, always, held, after, limit);
                Ok(page.connection(by_occurrence(found.await.map_err(fail)?)))
            }
            (None, Some(occurrence)) => {
                let page: Page<AccountId> = Page::parse(first, after)?;
                let occurrence = id_or(&occurrence, "occurrence")?;
                let (after, limit) = (page.after, page.probe_limit());
                let found = source.manager.attendees_of(&admin, occurrence, held, after, limit);
                let items = found.await.map_err(fail)?.into_iter();
                Ok(page.connection(items.map(|r| (r.id.member, RegistrationNode(r))).collect()))
            }
            _ => {
                let text = "must be given, or occurrenceId, but not both";
                Err(fail(Error::field("memberId", text)))
            }
        }
    }
}

/// The complexity of a page: its number of items times that of an item.
fn page_complexity(first: Option<i32>, child: usize) -> usize {
    let first = first.unwrap_or(DEFAULT_PAGE).max(1);
    usize::try_from(first).unwrap_or(usize::MAX).saturating_mul(child.max(1))
}

fn by_occurrence(found: Vec<Registration>) -> Vec<(OccurrenceId, RegistrationNode)> {
    found.into_iter().map(|r| (r.id.occurrence, RegistrationNode(r))).collect()
}

fn held(include_cancelled: Option<bool>) -> Held {
    if include_cancelled == Some(true) { Held::All } else { Held::Confirmed }
}

fn window(from: Moment, to: Moment, errors: &mut FieldErrors) -> Option<Span> {
    let (from, to) = (errors.check("from", sensible(from)), errors.check("to", sensible(to)));
    let span = Span { from: from?, to: to? };
    let checked = if span.to <= span.from {
        Err(Invalid("must be later than from"))
    } else if span.to - span.from > LONGEST_WINDOW {
        Err(Invalid("must be at most 366 days after from"))
    } else {
        Ok(span)
    };
    errors.check("to", checked)
}

fn sensible(moment: Moment) -> Result<DateTime<Utc>, Invalid> {
    let known = YEARS.contains(&moment.0.year());
    known.then_some(moment.0).ok_or(Invalid("must be in the years 1900 to 2199"))
}
