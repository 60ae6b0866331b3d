//! Children of many parents, loaded together.

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::{DataLoader, Loader};

use crate::{
    domain::{Account, AccountId, Event, Occurrence, OccurrenceId, Waiter},
    error::Error,
    manager::{OrgScope, TenantManager},
};

/// The right to read, and where.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) manager: Arc<TenantManager>,
    pub(super) scope: OrgScope,
}

/// Occurrences with their events.
pub(super) struct Occurrences(Source);
/// Accounts of the organization.
pub(super) struct Members(Source);
/// Waiting lists.
pub(super) struct Waiting(Source);

/// The loaders of one request.
pub(super) struct Loaders {
    pub(super) occurrences: DataLoader<Occurrences>,
    pub(super) members: DataLoader<Members>,
    pub(super) waiting: DataLoader<Waiting>,
}

impl Loaders {
    pub(super) fn of(source: &Source) -> Self {
        let spawn = tokio::spawn;
        Self {
            occurrences: DataLoader::new(Occurrences(source.clone()), spawn),
            members: DataLoader::new(Members(source.clone()), spawn),
            waiting: DataLoader::new(Waiting(source.clone()), spawn),
        }
    }
}

impl Loader<OccurrenceId> for Occurrences {
    type Value = (Occurrence, Arc<Event>);
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[OccurrenceId],
    ) -> Result<HashMap<OccurrenceId, Self::Value>, Arc<Error>> {
        Ok(self.0.manager.occurrences_among(&self.0.scope, ids.to_vec()).await?)
    }
}

impl Loader<AccountId> for Members {
    type Value = Account;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[AccountId]) -> Result<HashMap<AccountId, Account>, Arc<Error>> {
        let found = self.0.manager.members_among(&self.0.scope, ids).await?;
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
        let found = self.0.manager.waiting_among(&self.0.scope, ids.to_vec()).await?;
        Ok(found.into_iter().map(|(id, waiting)| (id, Arc::new(waiting))).collect())
    }
}
