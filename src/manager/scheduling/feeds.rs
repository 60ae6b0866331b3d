//! Calendar feeds: a member's registrations under a secret URL.

use std::{net::IpAddr, sync::Arc, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use moka::sync::Cache;
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::{
        AccountId,
        identity::Actor,
        scheduling::{Event, Held, Registration, Span},
    },
    error::{Error, Result},
    manager::{OrgContext, TenantManager},
};

/// A registration that holds a seat, with its event.
pub type FeedItem = (Registration, Arc<Event>);

/// A request for a feed.
pub struct Poll<'p> {
    /// The secret in the URL.
    pub token: &'p str,
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client already has the text with that tag.
    pub knows: &'p dyn Fn(&str) -> bool,
    /// Renders the text; it runs on a blocking thread.
    pub render: fn(Vec<FeedItem>) -> Vec<u8>,
}

/// What a feed shows.
pub struct Feed {
    /// The entity tag, which changes with the text.
    pub tag: String,
    /// The text, unless the client already has it. Clients of the same feed share it.
    pub text: Option<Arc<[u8]>>,
}

/// Recently requested texts of feeds, and the permits to render others.
pub(super) struct Feeds {
    texts: Cache<AccountId, CachedFeed>,
    permits: Arc<Semaphore>,
}

/// The turn of an organization, and one of the permits to render, always taken in this order: with
/// the permits first, the polls of one organization would hold all of them while they wait for its
/// turn. Both last until the text is rendered, so an organization never has more than one permit.
struct Place {
    _turn: OwnedMutexGuard<()>,
    _permit: OwnedSemaphorePermit,
}

/// A rendered feed.
#[derive(Clone)]
struct CachedFeed {
    /// When the data for the tag was read.
    read_at: Instant,
    tag: String,
    text: Option<Arc<[u8]>>,
}

const NO_FEED: Error = Error::NotFound("calendar");
/// How far a feed reaches into the past and into the future.
const PAST: Duration = Duration::days(90);
const AHEAD: Duration = Duration::days(730);
/// The maximum number of seats in a feed.
const SEATS: u32 = 1_000;
/// The total bytes of a feed's descriptions, divided equally among its seats.
const DESCRIPTIONS: usize = 512 << 10;
const TOKEN_BYTES: usize = 32;
/// How many feeds are rendered at once: each takes a few megabytes of memory.
const AT_ONCE: usize = 4;
/// The total bytes of cached texts.
const TEXTS: u64 = 32 << 20;
const IDLE: std::time::Duration = std::time::Duration::from_mins(15);
/// Change it when the same seats would render differently.
const FORMAT: &[u8] = b"1";

impl Default for Feeds {
    fn default() -> Self {
        let bytes = |cached: &CachedFeed| cached.text.as_ref().map_or(0, |text| text.len()) + 200;
        let texts = Cache::builder()
            .max_capacity(TEXTS)
            .weigher(move |_, cached| u32::try_from(bytes(cached)).unwrap_or(u32::MAX))
            .time_to_idle(IDLE)
            .build();
        Self { texts, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl CachedFeed {
    /// The answer to a poll, unless the text is needed and not cached.
    fn answer(&self, poll: &Poll<'_>) -> Option<Feed> {
        let text = if (poll.knows)(&self.tag) { None } else { Some(self.text.clone()?) };
        Some(Feed { tag: self.tag.clone(), text })
    }
}

impl TenantManager {
    /// Creates a new secret for the caller's calendar feed and revokes the previous one. Only its
    /// hash is stored.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the account's password has changed meanwhile.
    pub async fn feed_create(&self, ctx: &OrgContext) -> Result<String> {
        let mut secret = [0; TOKEN_BYTES];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
        let token = URL_SAFE_NO_PAD.encode(secret);
        let hash = hash(&token);
        let set = self.store.set_feed(ctx.actor(), Some(&hash));
        if set.await? { Ok(token) } else { Err(Error::Unauthenticated) }
    }

    /// Revokes the caller's calendar feed.
    ///
    /// # Errors
    /// As [`TenantManager::feed_create`].
    pub async fn feed_revoke(&self, ctx: &OrgContext) -> Result<()> {
        let set = self.store.set_feed(ctx.actor(), None);
        if set.await? { Ok(()) } else { Err(Error::Unauthenticated) }
    }

    /// The feed with that secret. Each organization has one feed read at a time, and only a few are
    /// rendered at once; an unchanged feed is not rendered again.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such feed; [`Error::Throttled`] if it is polled too
    /// often; [`Error::Busy`] if too many feeds wait.
    pub async fn feed(&self, poll: Poll<'_>) -> Result<Feed> {
        let arrived = Instant::now();
        let ctx = self.feed_context(poll.token, poll.address).await?;
        let member = ctx.account_id();
        let turn = self.scheduling.feeds_queue.wait(ctx.org_id(), ctx.deadline()).await?;
        // A text read after this poll arrived is as fresh as one that it would read itself.
        let cached = self.scheduling.feeds.texts.get(&member);
        if let Some(feed) = cached.as_ref().filter(|cached| cached.read_at >= arrived)
            && let Some(feed) = feed.answer(&poll)
        {
            return Ok(feed);
        }
        let permit = self.feed_permit(ctx.deadline()).await?;
        let read_at = Instant::now();
        // Read the version before the data: the next poll sees a change in between.
        let events_version = self.events_version(&ctx).await?;
        let seats = self.seats_to_show(&ctx, self.clock.now()).await?;
        let tag = tag(member, events_version, &seats);
        let text = cached.filter(|cached| cached.tag == tag).and_then(|cached| cached.text);
        let mut current = CachedFeed { read_at, tag, text };
        let mut place = Place { _turn: turn, _permit: permit };
        if current.text.is_none() && !(poll.knows)(&current.tag) {
            let items = self.with_events(&ctx, seats).await?;
            let text;
            (text, place) = self.feed_text(poll.render, items, place).await?;
            current.text = Some(text);
        }
        self.scheduling.feeds.texts.insert(member, current.clone());
        drop(place);
        current.answer(&poll).ok_or_else(|| Error::Internal("a feed has no text".into()))
    }

    /// Renders a feed. Rendering continues after its client has disconnected, so it owns its place.
    async fn feed_text(
        &self,
        render: fn(Vec<FeedItem>) -> Vec<u8>,
        items: Vec<FeedItem>,
        place: Place,
    ) -> Result<(Arc<[u8]>, Place)> {
        let rendered = self.tasks.spawn_blocking(move || (render(items).into(), place));
        rendered.await.map_err(|e| Error::Internal(format!("a feed was not rendered: {e}")))
    }

    /// The context of the member whose feed has that secret.
    async fn feed_context(&self, token: &str, address: IpAddr) -> Result<OrgContext> {
        // A malformed secret needs no lookup.
        let secret = URL_SAFE_NO_PAD.decode(token).map_err(|_| NO_FEED)?;
        if secret.len() != TOKEN_BYTES {
            return Err(NO_FEED);
        }
        let (hash, polls) = (hash(token), &self.scheduling.polls);
        polls.check(&hash, address)?;
        let Some(account) = self.store.account_by_feed(&hash).await? else {
            polls.missed(&hash, address);
            return Err(NO_FEED);
        };
        polls.found(hash)?;
        let org = self.tenancy.cache.organization(account.org_id).await?.ok_or(NO_FEED)?;
        if !org.is_usable() {
            return Err(NO_FEED);
        }
        Ok(OrgContext::of(Actor::from(&account), self.deadline()))
    }

    async fn feed_permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.scheduling.feeds.permits).acquire_owned();
        let permit =
            tokio::time::timeout_at(deadline.into(), permit).await.ok().and_then(Result::ok);
        permit.ok_or(Error::Busy { what: "too many calendar feeds are being rendered" })
    }

    async fn events_version(&self, ctx: &OrgContext) -> Result<Option<i64>> {
        self.tenant_read(ctx, "agenda.version", (), |mut reader, ()| {
            Box::pin(async move { reader.events_version().await })
        })
        .await
    }

    /// At most [`SEATS`] seats of the feed's period, ordered by start. If there are more, it
    /// prefers upcoming seats, then the most recent past ones.
    async fn seats_to_show(
        &self,
        ctx: &OrgContext,
        now: DateTime<Utc>,
    ) -> Result<Vec<Registration>> {
        let held = async |from, to| {
            let (member, span) = (ctx.account_id(), Span { from, to });
            self.registrations_of(ctx, member, span, Held::Confirmed, None, SEATS + 1).await
        };
        let limit = SEATS as usize;
        let all = held(now - PAST, now + AHEAD).await?;
        if all.len() <= limit {
            return Ok(all);
        }
        let mut upcoming = held(now, now + AHEAD).await?;
        upcoming.truncate(limit);
        let mut seats = held(now - PAST, now).await?;
        seats.retain(|seat| seat.end <= now);
        seats.drain(..seats.len().saturating_sub(limit - upcoming.len()));
        seats.append(&mut upcoming);
        Ok(seats)
    }

    async fn with_events(
        &self,
        ctx: &OrgContext,
        seats: Vec<Registration>,
    ) -> Result<Vec<FeedItem>> {
        let mut ids: Vec<_> = seats.iter().map(|seat| seat.id.occurrence.event).collect();
        ids.sort_unstable();
        ids.dedup();
        let share = DESCRIPTIONS / seats.len().max(1);
        let events = self
            .tenant_read(ctx, "event.brief", ids, move |mut reader, ids| {
                // One character too many shows that the description was cut.
                Box::pin(async move { reader.events_abridged(ids, share + 1).await })
            })
            .await?;
        let events: std::collections::HashMap<_, _> = events
            .into_iter()
            .map(|mut event| {
                event.description = event.description.map(|text| cut(text, share));
                (event.id, Arc::new(event))
            })
            .collect();
        let items = seats.into_iter().filter_map(|seat| {
            let event = events.get(&seat.id.occurrence.event)?;
            Some((seat, Arc::clone(event)))
        });
        Ok(items.collect())
    }
}

/// The secret has 256 random bits, so a fast hash is enough to protect it in the database.
fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// A hash of everything that the text depends on.
fn tag(member: AccountId, events_version: Option<i64>, seats: &[Registration]) -> String {
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    hash.update(member.object_id().bytes());
    hash.update(events_version.unwrap_or_default().to_be_bytes());
    for seat in seats {
        let occurrence = seat.id.occurrence;
        hash.update(occurrence.event.object_id().bytes());
        for moment in [occurrence.start, seat.end, seat.created_at] {
            hash.update(moment.timestamp_millis().to_be_bytes());
        }
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
}

/// Cuts the text to at most `limit` bytes, with an ellipsis at the end if it was longer.
fn cut(mut text: String, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(cut("0123456789".to_owned(), 10), "0123456789");
        assert_eq!(cut("0123456789x".to_owned(), 10), "0123456…");
        assert_eq!(cut("老虎老虎".to_owned(), 11), "老虎…");
    }

    proptest! {
        #[test]
        fn a_cut_text_is_never_longer_than_the_limit(text: String, limit in 3..100_usize) {
            let short = cut(text.clone(), limit);
            prop_assert!(short.len() <= limit);
            prop_assert!(short == text || text.starts_with(short.strip_suffix('…').unwrap()));
        }
    }
}
