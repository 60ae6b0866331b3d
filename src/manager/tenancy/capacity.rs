//! Limits how many organizations exist: refuses a sign-up before the database runs out of file
//! handles.

use std::{
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    store::{Store, driver::FileUsage},
};

/// The limit on organizations, and the result of the last check.
pub(super) struct TenantCapacity {
    /// The maximum number of organizations; 0 allows as many as the database's file handles do.
    limit: u64,
    last_check: Mutex<Option<(Instant, Verdict)>>,
    /// Logs only once that the database does not report its usage.
    warned: Once,
}

/// Whether another tenant fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Fits,
    /// Not while this many file handles are in use.
    NotNow,
    Full,
}

/// Sign-ups within this time share one check of the database, so the limit is not exact, and the
/// reserved handles must last until the next check.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// The minimum number of handles reserved for files that are opened before the next check.
const RESERVED_HANDLES: u64 = 256;

impl TenantCapacity {
    /// Allows at most `limit` organizations; 0 allows as many as the database's file handles do.
    #[must_use]
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, last_check: Mutex::new(None), warned: Once::new() }
    }

    /// Admits a sign-up if the database can hold another collection.
    ///
    /// # Errors
    /// [`Error::Full`] if the limit is reached; [`Error::Busy`] while the database is short of file
    /// handles.
    pub(in crate::manager) async fn admit(&self, store: &Store) -> Result<()> {
        let last_check = *self.last_check.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = match last_check {
            Some((when, verdict)) if when.elapsed() < CHECK_EVERY => verdict,
            _ => {
                let verdict = self.check_usage(store).await?;
                let now = Some((Instant::now(), verdict));
                *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = now;
                verdict
            }
        };
        if verdict == Verdict::Fits {
            return Ok(());
        }
        metrics::counter!("tenantry_sign_ups_without_room_total").increment(1);
        Err(match verdict {
            Verdict::NotNow => Error::Busy { what: "the database is short of file handles" },
            _ => Error::Full,
        })
    }

    async fn check_usage(&self, store: &Store) -> Result<Verdict> {
        if self.limit > 0 && store.organization_count().await? >= self.limit {
            return Ok(Verdict::Full);
        }
        let Some(usage) = store.file_usage().await? else {
            self.warned.call_once(|| {
                tracing::warn!(
                    "the database does not report its file handles, so they do not limit sign-ups"
                );
            });
            return Ok(Verdict::Fits);
        };
        Ok(self.evaluate(&usage))
    }

    fn evaluate(&self, usage: &FileUsage) -> Verdict {
        // Reads may open every file at once, and the database can close only idle files.
        let reserved = (usage.most_handles / 100 * 15).max(RESERVED_HANDLES);
        let most_collections = usage.most_handles.saturating_sub(reserved);
        gauge("tenantry_collections", usage.collections);
        gauge("tenantry_collections_ceiling", most_collections);
        gauge("tenantry_database_handles", usage.handles);
        gauge("tenantry_database_handles_ceiling", usage.most_handles);
        if self.limit == 0 && usage.collections >= most_collections {
            Verdict::Full
        } else if usage.handles > usage.most_handles.saturating_sub(reserved / 2) {
            Verdict::NotNow
        } else {
            Verdict::Fits
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEARLY_FULL: FileUsage =
        FileUsage { collections: 16_999, handles: 100, most_handles: 20_000 };

    #[test]
    fn sign_ups_stop_when_the_collections_would_use_up_the_file_handles() {
        let capacity = TenantCapacity::new(0);
        assert_eq!(capacity.evaluate(&NEARLY_FULL), Verdict::Fits);
        assert_eq!(
            capacity.evaluate(&FileUsage { collections: 17_000, ..NEARLY_FULL }),
            Verdict::Full
        );
        let tiny = FileUsage { collections: 0, handles: 30, most_handles: 256 };
        assert_eq!(capacity.evaluate(&tiny), Verdict::Full);
    }

    #[test]
    fn a_configured_limit_replaces_the_limit_by_file_handles() {
        assert_eq!(
            TenantCapacity::new(20_000).evaluate(&FileUsage { collections: 19_999, ..NEARLY_FULL }),
            Verdict::Fits
        );
    }

    #[test]
    fn a_shortage_of_handles_pauses_sign_ups_whatever_limit_is_configured() {
        let short = FileUsage { handles: 18_501, ..NEARLY_FULL };
        assert_eq!(TenantCapacity::new(0).evaluate(&short), Verdict::NotNow);
        assert_eq!(TenantCapacity::new(1_000_000).evaluate(&short), Verdict::NotNow);
        // The database's own files and its connections use handles as well.
        let open = FileUsage { collections: 17_000, handles: 17_200, ..NEARLY_FULL };
        assert_eq!(TenantCapacity::new(0).evaluate(&open), Verdict::Full);
    }
}
