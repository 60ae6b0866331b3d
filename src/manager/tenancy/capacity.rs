//! Limits how many organizations and indexes exist: refuses them before the database runs out of
//! file handles.

use std::{
    sync::Once,
    time::{Duration, Instant},
};

use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::{
    error::{Error, Result},
    store::{Store, driver::FileUsage},
};

/// The limit on organizations and files, and what is left of it.
pub(in crate::manager) struct TenantCapacity {
    /// The maximum number of organizations; 0 allows as many as the database's file handles do.
    limit: u64,
    /// Held during a look at the database, so that all who ask at the same time share one.
    last_look: Mutex<Option<(Instant, Left)>>,
    /// Logs only once that the database does not report its usage.
    warned: Once,
}

/// What fits until the next look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Left {
    organizations: u64,
    files: u64,
    /// Too many file handles are in use at the moment.
    short: bool,
}

/// How long a look is believed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The minimum number of handles that are kept free, for files of other processes' sign-ups and for
/// connections.
const RESERVED_HANDLES: u64 = 256;

impl TenantCapacity {
    /// Allows at most `limit` organizations; 0 allows as many as the database's file handles do.
    #[must_use]
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, last_look: Mutex::const_new(None), warned: Once::new() }
    }

    /// Refuses a sign-up that would not be admitted, before a password is hashed for it.
    ///
    /// # Errors
    /// As [`TenantCapacity::admit`].
    pub(in crate::manager) async fn check(&self, store: &Store, deadline: Instant) -> Result<()> {
        let left = *self.left(store, deadline).await?;
        counted(left.minus(1, 1, self.limit > 0)).map(drop)
    }

    /// Admits a sign-up, which creates a collection.
    ///
    /// # Errors
    /// [`Error::Full`] if the limit is reached; [`Error::Busy`] while the database is short of file
    /// handles, or if others look at it until `deadline`.
    pub(in crate::manager) async fn admit(&self, store: &Store, deadline: Instant) -> Result<()> {
        let mut left = self.left(store, deadline).await?;
        *left = counted(left.minus(1, 1, self.limit > 0))?;
        Ok(())
    }

    /// Admits an index build that creates so many files.
    ///
    /// # Errors
    /// As [`TenantCapacity::admit`].
    pub(in crate::manager) async fn admit_indexes(
        &self,
        store: &Store,
        files: u64,
        deadline: Instant,
    ) -> Result<()> {
        let mut left = self.left(store, deadline).await?;
        *left = left.minus(0, files, false)?;
        Ok(())
    }

    /// What is left, locked. Whoever finds it out of date looks again, and the others wait for that.
    async fn left(&self, store: &Store, deadline: Instant) -> Result<MappedMutexGuard<'_, Left>> {
        let locked = tokio::time::timeout_at(deadline.into(), self.last_look.lock()).await;
        let mut last_look =
            locked.map_err(|_| Error::Busy { what: "the database does not tell what it holds" })?;
        if last_look.is_none_or(|(when, _)| when.elapsed() >= LOOK_EVERY) {
            *last_look = Some((Instant::now(), self.look(store).await?));
        }
        let left = MutexGuard::try_map(last_look, |look| look.as_mut().map(|(_, left)| left));
        left.map_err(|_| Error::Internal("a look has seen nothing".into()))
    }

    async fn look(&self, store: &Store) -> Result<Left> {
        let usage = store.file_usage().await?;
        if usage.is_none() {
            self.warned.call_once(|| {
                tracing::warn!(
                    "the database does not report its file handles, so they do not limit sign-ups"
                );
            });
        }
        let organizations = match self.limit {
            0 => u64::MAX,
            limit => limit.saturating_sub(store.organization_count().await?),
        };
        Ok(usage.map_or(Left { organizations, files: u64::MAX, short: false }, |usage| {
            Left::of(&usage, organizations)
        }))
    }
}

impl Left {
    fn of(usage: &FileUsage, organizations: u64) -> Self {
        // Reads may open every file at once, and the database can close only idle files.
        let reserved = (usage.most_handles / 100 * 15).max(RESERVED_HANDLES);
        let most_files = usage.most_handles.saturating_sub(reserved);
        gauge("tenantry_database_files", usage.files);
        gauge("tenantry_database_files_ceiling", most_files);
        gauge("tenantry_database_handles", usage.handles);
        gauge("tenantry_database_handles_ceiling", usage.most_handles);
        let files = most_files.saturating_sub(usage.files);
        let short = usage.handles > usage.most_handles.saturating_sub(reserved / 2);
        Self { organizations, files, short }
    }

    /// What remains without that much. `any_files`: the number of files does not matter, because a
    /// configured limit on organizations replaces it.
    fn minus(self, organizations: u64, files: u64, any_files: bool) -> Result<Self> {
        if self.organizations < organizations || (!any_files && self.files < files) {
            return Err(Error::Full);
        }
        if self.short {
            return Err(Error::Busy { what: "the database is short of file handles" });
        }
        let files = self.files.saturating_sub(files);
        Ok(Self { organizations: self.organizations - organizations, files, ..self })
    }
}

fn counted<T>(admitted: Result<T>) -> Result<T> {
    if admitted.is_err() {
        metrics::counter!("tenantry_sign_ups_without_room_total").increment(1);
    }
    admitted
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEARLY_FULL: FileUsage = FileUsage { files: 16_998, handles: 100, most_handles: 20_000 };

    /// Takes that, and why not.
    fn take(left: &mut Left, organizations: u64, files: u64, any: bool) -> Option<&'static str> {
        match left.minus(organizations, files, any) {
            Ok(remaining) => {
                *left = remaining;
                None
            }
            Err(error) => Some(error.code()),
        }
    }

    #[test]
    fn sign_ups_and_indexes_stop_when_their_files_would_use_up_the_file_handles() {
        let mut left = Left::of(&NEARLY_FULL, u64::MAX);
        assert_eq!(take(&mut left, 0, 3, false), Some("capacity_reached"));
        assert_eq!(take(&mut left, 1, 1, false), None);
        assert_eq!(take(&mut left, 1, 1, false), None);
        // Nobody has looked again since.
        assert_eq!(take(&mut left, 1, 1, false), Some("capacity_reached"));
        let tiny = FileUsage { files: 0, handles: 30, most_handles: 256 };
        assert_eq!(take(&mut Left::of(&tiny, u64::MAX), 1, 1, false), Some("capacity_reached"));
    }

    #[test]
    fn a_configured_limit_replaces_the_limit_by_files_for_organizations_alone() {
        let mut left = Left::of(&FileUsage { files: 19_999, ..NEARLY_FULL }, 1);
        assert_eq!(take(&mut left, 1, 1, true), None);
        assert_eq!(take(&mut left, 1, 1, true), Some("capacity_reached"));
        assert_eq!(take(&mut left, 0, 3, false), Some("capacity_reached"));
    }

    #[test]
    fn a_shortage_of_handles_pauses_sign_ups_whatever_limit_is_configured() {
        let short = FileUsage { handles: 18_501, ..NEARLY_FULL };
        assert_eq!(take(&mut Left::of(&short, u64::MAX), 1, 1, false), Some("busy"));
        assert_eq!(take(&mut Left::of(&short, 1_000_000), 1, 1, true), Some("busy"));
        // The database's own files and its connections use handles as well.
        let open = FileUsage { files: 17_000, handles: 17_200, ..NEARLY_FULL };
        assert_eq!(take(&mut Left::of(&open, u64::MAX), 1, 1, false), Some("capacity_reached"));
    }
}
