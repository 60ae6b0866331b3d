//! Calendar feeds: a member's registrations for whoever knows a secret address.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

use super::{OrgScope, TenantManager};
use crate::{
    domain::{Actor, Event, OrgStatus, Registration},
    error::{Error, Result},
    store::{Held, Span},
};

/// A registration that holds a seat, with its event.
pub type FeedItem = (Registration, Arc<Event>);

const NO_FEED: Error = Error::NotFound("calendar");
/// Days that are shown of the past, and of what is ahead.
const PAST: Duration = Duration::days(90);
const AHEAD: Duration = Duration::days(730);
const TOKEN_BYTES: usize = 32;

impl TenantManager {
    /// A new secret for the caller's calendar feed; the one before is worthless from then on. Only
    /// its hash is kept.
    ///
    /// # Errors
    /// The store's.
    pub async fn feed_create(&self, scope: &OrgScope) -> Result<String> {
        let mut secret = [0; TOKEN_BYTES];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
        let token = URL_SAFE_NO_PAD.encode(secret);
        let hash = hash(&token);
        let set = self.store.set_feed(scope.org_id(), scope.account_id(), Some(&hash));
        if set.await? { Ok(token) } else { Err(Error::Unauthenticated) }
    }

    /// Takes the caller's calendar feed away.
    ///
    /// # Errors
    /// The store's.
    pub async fn feed_revoke(&self, scope: &OrgScope) -> Result<()> {
        self.store.set_feed(scope.org_id(), scope.account_id(), None).await?;
        Ok(())
    }

    /// What the feed with that secret shows.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such feed; the store's.
    pub async fn feed(&self, token: &str) -> Result<Vec<FeedItem>> {
        let account = self.store.account_by_feed(&hash(token)).await?.ok_or(NO_FEED)?;
        let org = self.directory.organization(account.org_id).await?.ok_or(NO_FEED)?;
        if org.status == OrgStatus::Deleting {
            return Err(NO_FEED);
        }
        let scope = OrgScope::of(Actor::from(&account));
        let now = self.clock.now();
        let span = Span { from: now - PAST, to: now + AHEAD };
        let held =
            self.registrations_of(&scope, account.id, span, Held::Confirmed, None, 0).await?;
        let events = held.iter().map(|held| held.id.occurrence.event).collect();
        let events = self.events_among(&scope, events).await?;
        let items = held.into_iter().filter_map(|held| {
            let event = events.get(&held.id.occurrence.event)?;
            Some((held, Arc::clone(event)))
        });
        Ok(items.collect())
    }
}

/// The secret has 256 random bits, so a fast hash is enough to make the stored one useless.
fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}
