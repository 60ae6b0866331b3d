//! Loads the related objects of many items in one query.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_graphql::dataloader::{DataLoader, Loader};
use tokio::sync::Mutex;

use crate::{
    domain::{
        AccountId, EventId,
        identity::Account,
        scheduling::{Event, Occurrence, OccurrenceId, Waiter},
    },
    error::{Error, Result},
    manager::{OrgContext, TenantManager},
};

/// The bytes of text in all answers in progress.
#[derive(Debug, Default)]
pub struct Texts(AtomicUsize);

/// The bytes of text in one answer, which may contain hundreds of long texts.
pub(super) struct AnswerText {
    bytes: AtomicUsize,
    all: Arc<Texts>,
}

/// Data access for one request, with loaders that are created on first use.
pub(super) struct Source {
    pub(super) manager: Arc<TenantManager>,
    pub(super) ctx: OrgContext,
    text: Arc<AnswerText>,
    events: OnceLock<DataLoader<Events>>,
    occurrences: OnceLock<DataLoader<Occurrences>>,
    members: OnceLock<DataLoader<Members>>,
    waiting: OnceLock<DataLoader<Waiting>>,
}

/// Data access for one loader.
struct Reads {
    manager: Arc<TenantManager>,
    ctx: OrgContext,
}

/// Events with their descriptions, few at a time, until the answer has too much text.
pub(super) struct Events {
    reads: Reads,
    text: Arc<AnswerText>,
    loaded: Mutex<usize>,
}
/// Occurrences with their events, which have no descriptions.
pub(super) struct Occurrences(Reads);
/// Accounts of the organization.
pub(super) struct Members(Reads);
/// Waiting lists.
pub(super) struct Waiting(Reads);

impl Source {
    pub(super) const fn new(
        manager: Arc<TenantManager>,
        ctx: OrgContext,
        text: Arc<AnswerText>,
    ) -> Self {
        Self {
            manager,
            ctx,
            text,
            events: OnceLock::new(),
            occurrences: OnceLock::new(),
            members: OnceLock::new(),
            waiting: OnceLock::new(),
        }
    }

    /// Counts `bytes` of text towards the answer.
    ///
    /// # Errors
    /// [`Error::AnswerTooLarge`] if the answer, [`Error::Busy`] if all answers exceed their limit.
    pub(super) fn count_text(&self, bytes: usize) -> Result<()> {
        let add = |to: &AtomicUsize| to.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let (own, all) = (add(&self.text.bytes), add(&self.text.all.0));
        if own > AnswerText::MOST {
            return Err(Error::AnswerTooLarge);
        }
        if all > Texts::MOST {
            return Err(Error::Busy { what: "too many large answers are in progress" });
        }
        Ok(())
    }

    pub(super) fn events(&self) -> &DataLoader<Events> {
        const AT_ONCE: usize = 50;
        self.events.get_or_init(|| {
            let text = Arc::clone(&self.text);
            let events = Events { reads: self.reads(), text, loaded: Mutex::default() };
            loader(events).max_batch_size(AT_ONCE)
        })
    }

    pub(super) fn occurrences(&self) -> &DataLoader<Occurrences> {
        self.occurrences.get_or_init(|| loader(Occurrences(self.reads())))
    }

    pub(super) fn members(&self) -> &DataLoader<Members> {
        self.members.get_or_init(|| loader(Members(self.reads())))
    }

    pub(super) fn waiting(&self) -> &DataLoader<Waiting> {
        self.waiting.get_or_init(|| loader(Waiting(self.reads())))
    }

    fn reads(&self) -> Reads {
        Reads { manager: Arc::clone(&self.manager), ctx: self.ctx }
    }
}

impl Texts {
    /// The maximum bytes of text in all answers. Each text is briefly in memory two or three times.
    const MOST: usize = 64 * 1024 * 1024;
}

impl Drop for AnswerText {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl AnswerText {
    /// For a new answer, counted in `all`.
    pub(super) fn of(all: &Arc<Texts>) -> Self {
        Self { bytes: AtomicUsize::new(0), all: Arc::clone(all) }
    }

    /// The maximum bytes of text in one answer.
    const MOST: usize = 16 * 1024 * 1024;
    /// An answer with this many bytes of text takes long to serialize.
    const LARGE: usize = 256 * 1024;

    pub(super) fn is_large(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= Self::LARGE
    }
}

/// A loader that collects keys for a millisecond, the library's default. Without that delay, a busy
/// machine would load the items of a page one by one.
fn loader<T>(of: T) -> DataLoader<T> {
    DataLoader::new(of, tokio::spawn)
}

impl Loader<EventId> for Events {
    type Value = Arc<Event>;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[EventId]) -> Result<HashMap<EventId, Arc<Event>>, Arc<Error>> {
        let mut loaded = self.loaded.lock().await;
        if self.text.bytes.load(Ordering::Relaxed).max(*loaded) > AnswerText::MOST {
            return Err(Error::AnswerTooLarge.into());
        }
        let Reads { manager, ctx } = &self.reads;
        let found = manager.events_among(ctx, ids.to_vec(), true).await?;
        let texts = found.values().filter_map(|event| event.description.as_ref());
        *loaded += texts.map(String::len).sum::<usize>();
        Ok(found)
    }
}

impl Loader<OccurrenceId> for Occurrences {
    type Value = (Occurrence, Arc<Event>);
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[OccurrenceId],
    ) -> Result<HashMap<OccurrenceId, Self::Value>, Arc<Error>> {
        Ok(self.0.manager.occurrences_among(&self.0.ctx, ids.to_vec()).await?)
    }
}

impl Loader<AccountId> for Members {
    type Value = Account;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[AccountId]) -> Result<HashMap<AccountId, Account>, Arc<Error>> {
        let found = self.0.manager.members_among(&self.0.ctx, ids).await?;
        Ok(found.into_iter().map(|account| (account.id, account)).collect())
    }
}

impl Loader<OccurrenceId> for Waiting {
    type Value = Arc<Vec<Waiter>>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[OccurrenceId],
    ) -> Result<HashMap<OccurrenceId, Self::Value>, Arc<Error>> {
        let found = self.0.manager.waiting_among(&self.0.ctx, ids.to_vec()).await?;
        Ok(found.into_iter().map(|(id, waiting)| (id, Arc::new(waiting))).collect())
    }
}
