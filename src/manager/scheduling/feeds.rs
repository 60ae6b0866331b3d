//! Calendar feeds: a member's registrations for whoever knows a secret address.

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
        tenancy::OrgStatus,
    },
    error::{Error, Result},
    manager::{OrgScope, TenantManager},
};

/// A registration that holds a seat, with its event.
pub type FeedItem = (Registration, Arc<Event>);

/// Somebody asks for a feed.
pub struct Poll<'p> {
    /// The secret.
    pub token: &'p str,
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client has the text with that tag already.
    pub knows: &'p dyn Fn(&str) -> bool,
    /// Makes the text. It runs on a thread for long work.
    pub render: fn(Vec<FeedItem>) -> Vec<u8>,
}

/// What a feed shows.
pub struct Feed {
    /// It changes with the text.
    pub tag: String,
    /// The text, unless the client has it already. All who ask for the same share it.
    pub text: Option<Arc<[u8]>>,
}

/// Texts of feeds that were asked for lately, and room to make others.
pub(super) struct Feeds {
    texts: Cache<AccountId, Kept>,
    room: Arc<Semaphore>,
}

/// The turn of an organization, and one of the rooms. Always taken in this order: rooms first, and
/// the polls of one organization would wait in all of them for its turn. Both last until the text
/// is made, so an organization never has more than one room.
struct Place {
    _turn: OwnedMutexGuard<()>,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone)]
struct Kept {
    /// When the database was asked for what the tag stands for.
    read_at: Instant,
    tag: String,
    text: Option<Arc<[u8]>>,
}

const NO_FEED: Error = Error::NotFound("calendar");
/// Days that are shown of the past, and of what is ahead.
const PAST: Duration = Duration::days(90);
const AHEAD: Duration = Duration::days(730);
/// The most seats that a feed shows.
const SEATS: u32 = 1_000;
/// Bytes that the descriptions of a feed share, an equal part for each seat.
const DESCRIPTIONS: usize = 512 << 10;
const TOKEN_BYTES: usize = 32;
/// How many feeds are made at once: each takes a few megabytes meanwhile.
const AT_ONCE: usize = 4;
/// Bytes of texts that are kept.
const TEXTS: u64 = 32 << 20;
const KEPT_FOR: std::time::Duration = std::time::Duration::from_mins(15);
/// Raise it when the same seats make another text.
const FORMAT: &[u8] = b"1";

impl Default for Feeds {
    fn default() -> Self {
        let bytes = |kept: &Kept| kept.text.as_ref().map_or(0, |text| text.len()) + 200;
        let texts = Cache::builder()
            .max_capacity(TEXTS)
            .weigher(move |_, kept| u32::try_from(bytes(kept)).unwrap_or(u32::MAX))
            .time_to_idle(KEPT_FOR)
            .build();
        Self { texts, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Kept {
    /// What the client is told, if that is known.
    fn answer(&self, poll: &Poll<'_>) -> Option<Feed> {
        let text = if (poll.knows)(&self.tag) { None } else { Some(self.text.clone()?) };
        Some(Feed { tag: self.tag.clone(), text })
    }
}

impl TenantManager {
    /// A new secret for the caller's calendar feed; the one before is worthless from then on. Only
    /// its hash is kept.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the account's password has changed meanwhile; the store's.
    pub async fn feed_create(&self, scope: &OrgScope) -> Result<String> {
        let mut secret = [0; TOKEN_BYTES];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
        let token = URL_SAFE_NO_PAD.encode(secret);
        let hash = hash(&token);
        let set = self.store.set_feed(scope.actor(), Some(&hash));
        if set.await? { Ok(token) } else { Err(Error::Unauthenticated) }
    }

    /// Takes the caller's calendar feed away.
    ///
    /// # Errors
    /// As [`TenantManager::feed_create`].
    pub async fn feed_revoke(&self, scope: &OrgScope) -> Result<()> {
        let set = self.store.set_feed(scope.actor(), None);
        if set.await? { Ok(()) } else { Err(Error::Unauthenticated) }
    }

    /// What the feed with that secret shows. One feed of an organization is looked at at a time,
    /// and few in all; what has not changed is not made again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such feed; [`Error::Throttled`] when it is asked for too
    /// often; [`Error::Busy`] when too many others are; the store's.
    pub async fn feed(&self, poll: Poll<'_>) -> Result<Feed> {
        let arrived = Instant::now();
        let scope = self.feed_scope(poll.token, poll.address).await?;
        let member = scope.account_id();
        let (waiting, patience) = (Instant::now(), self.tenancy.patience);
        let turn = self.scheduling.feeds_queue.wait(scope.org_id(), patience).await?;
        // What was read since this poll came is as good as what it would read itself.
        let kept = self.scheduling.feeds.texts.get(&member);
        if let Some(feed) = kept.as_ref().filter(|kept| kept.read_at >= arrived)
            && let Some(feed) = feed.answer(&poll)
        {
            return Ok(feed);
        }
        let room = self.room_for_feed(patience.saturating_sub(waiting.elapsed())).await?;
        let read_at = Instant::now();
        // First the version, then what it is about: what changes in between is seen the next time.
        let occurrence_cache = self.events_version(&scope).await?;
        let seats = self.seats_to_show(&scope, self.clock.now()).await?;
        let tag = tag(member, occurrence_cache, &seats);
        let text = kept.filter(|kept| kept.tag == tag).and_then(|kept| kept.text);
        let mut now = Kept { read_at, tag, text };
        let mut place = Place { _turn: turn, _room: room };
        if now.text.is_none() && !(poll.knows)(&now.tag) {
            let items = self.with_events(&scope, seats).await?;
            let text;
            (text, place) = self.feed_text(poll.render, items, place).await?;
            now.text = Some(text);
        }
        self.scheduling.feeds.texts.insert(member, now.clone());
        drop(place);
        now.answer(&poll).ok_or_else(|| Error::Internal("a feed has no text".into()))
    }

    /// The text of a feed. It goes on when its client has gone, so it keeps its place until then.
    async fn feed_text(
        &self,
        render: fn(Vec<FeedItem>) -> Vec<u8>,
        items: Vec<FeedItem>,
        place: Place,
    ) -> Result<(Arc<[u8]>, Place)> {
        let made = self.tasks.spawn_blocking(move || (render(items).into(), place));
        made.await.map_err(|e| Error::Internal(format!("a feed was not made: {e}")))
    }

    /// Whose feed has that secret.
    async fn feed_scope(&self, token: &str, address: IpAddr) -> Result<OrgScope> {
        // What cannot be a secret of ours needs no look.
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
        if org.status == OrgStatus::Deleting {
            return Err(NO_FEED);
        }
        Ok(OrgScope::of(Actor::from(&account)))
    }

    async fn room_for_feed(&self, patience: std::time::Duration) -> Result<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.scheduling.feeds.room).acquire_owned();
        let room = tokio::time::timeout(patience, room).await.ok().and_then(Result::ok);
        room.ok_or(Error::Busy { what: "too many calendar feeds are made" })
    }

    async fn events_version(&self, scope: &OrgScope) -> Result<Option<i64>> {
        self.tenant_read(scope, "agenda.version", (), |mut reader, ()| {
            Box::pin(async move { reader.events_version().await })
        })
        .await
    }

    /// The seats of the window in the order of their starts. Of too many, those ahead come first,
    /// then the latest ones.
    async fn seats_to_show(
        &self,
        scope: &OrgScope,
        now: DateTime<Utc>,
    ) -> Result<Vec<Registration>> {
        let held = async |from, to| {
            let (member, span) = (scope.account_id(), Span { from, to });
            self.registrations_of(scope, member, span, Held::Confirmed, None, SEATS + 1).await
        };
        let most = SEATS as usize;
        let all = held(now - PAST, now + AHEAD).await?;
        if all.len() <= most {
            return Ok(all);
        }
        let mut ahead = held(now, now + AHEAD).await?;
        ahead.truncate(most);
        let mut seats = held(now - PAST, now).await?;
        seats.retain(|seat| seat.end <= now);
        seats.drain(..seats.len().saturating_sub(most - ahead.len()));
        seats.append(&mut ahead);
        Ok(seats)
    }

    async fn with_events(
        &self,
        scope: &OrgScope,
        seats: Vec<Registration>,
    ) -> Result<Vec<FeedItem>> {
        let mut ids: Vec<_> = seats.iter().map(|seat| seat.id.occurrence.event).collect();
        ids.sort_unstable();
        ids.dedup();
        let share = DESCRIPTIONS / seats.len().max(1);
        let events = self
            .tenant_read(scope, "event.brief", ids, move |mut reader, ids| {
                // One more than fits shows that something is left out.
                Box::pin(async move { reader.events_in_brief(ids, share + 1).await })
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

/// The secret has 256 random bits, so a fast hash is enough to make the stored one useless.
fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// What the text depends on.
fn tag(member: AccountId, occurrence_cache: Option<i64>, seats: &[Registration]) -> String {
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    hash.update(member.object_id().bytes());
    hash.update(occurrence_cache.unwrap_or_default().to_be_bytes());
    for seat in seats {
        let occurrence = seat.id.occurrence;
        hash.update(occurrence.event.object_id().bytes());
        for moment in [occurrence.start, seat.end, seat.created_at] {
            hash.update(moment.timestamp_millis().to_be_bytes());
        }
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
}

/// The text in at most so many bytes, with an ellipsis where something is left out.
fn cut(mut text: String, most: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(ELLIPSIS.len())));
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
        fn no_text_is_longer_than_it_may_be(text: String, most in 3..100_usize) {
            let short = cut(text.clone(), most);
            prop_assert!(short.len() <= most);
            prop_assert!(short == text || text.starts_with(short.strip_suffix('…').unwrap()));
        }
    }
}
