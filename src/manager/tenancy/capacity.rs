//! How many organizations fit: a sign-up is refused before the database would fall over it.

use std::{
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    store::{Store, driver::FileUsage},
};

/// The most tenants, and what was seen of how many there are.
pub(super) struct TenantCapacity {
    /// The most organizations; 0 for as many as the database's file handles allow.
    most: u64,
    seen: Mutex<Option<(Instant, Verdict)>>,
    /// Whether it was said that the database tells nothing.
    warned: Once,
}

/// Whether another tenant fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Fits,
    /// Not while so many files are open.
    NotNow,
    Full,
}

/// Sign-ups within this time are admitted by one look at the database, so the ceiling is not sharp,
/// and the handles that are kept free must outlast it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Handles that are kept free for what is opened until the next look.
const FREE_HANDLES: u64 = 256;

impl TenantCapacity {
    /// At most so many tenants; with 0 as many as the database's file handles allow.
    #[must_use]
    pub(super) const fn new(most: u64) -> Self {
        Self { most, seen: Mutex::new(None), warned: Once::new() }
    }

    /// Lets a sign-up pass as long as there is room for its collection.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::Busy`] while the database is short of file handles; the store's.
    pub(in crate::manager) async fn admit(&self, store: &Store) -> Result<()> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = match seen {
            Some((when, verdict)) if when.elapsed() < LOOK_EVERY => verdict,
            _ => {
                let verdict = self.look(store).await?;
                let now = Some((Instant::now(), verdict));
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
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

    async fn look(&self, store: &Store) -> Result<Verdict> {
        if self.most > 0 && store.organization_count().await? >= self.most {
            return Ok(Verdict::Full);
        }
        let Some(full) = store.file_usage().await? else {
            self.warned.call_once(|| {
                tracing::warn!(
                    "the database does not tell how full it is, so its file handles bound no sign-ups"
                );
            });
            return Ok(Verdict::Fits);
        };
        Ok(self.judge(&full))
    }

    fn judge(&self, full: &FileUsage) -> Verdict {
        // Reads may open every file at once, and only idle ones can be closed again.
        let free = (full.most_handles / 100 * 15).max(FREE_HANDLES);
        let most = full.most_handles.saturating_sub(free);
        gauge("tenantry_collections", full.collections);
        gauge("tenantry_collections_ceiling", most);
        gauge("tenantry_database_handles", full.handles);
        gauge("tenantry_database_handles_ceiling", full.most_handles);
        if self.most == 0 && full.collections >= most {
            Verdict::Full
        } else if full.handles > full.most_handles.saturating_sub(free / 2) {
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

    const FULL: FileUsage = FileUsage { collections: 16_999, handles: 100, most_handles: 20_000 };

    #[test]
    fn a_database_takes_as_many_tenants_as_it_can_hold_open_at_once() {
        let ceiling = TenantCapacity::new(0);
        assert_eq!(ceiling.judge(&FULL), Verdict::Fits);
        assert_eq!(ceiling.judge(&FileUsage { collections: 17_000, ..FULL }), Verdict::Full);
        let tiny = FileUsage { collections: 0, handles: 30, most_handles: 256 };
        assert_eq!(ceiling.judge(&tiny), Verdict::Full);
    }

    #[test]
    fn what_is_set_takes_the_place_of_what_fits() {
        assert_eq!(
            TenantCapacity::new(20_000).judge(&FileUsage { collections: 19_999, ..FULL }),
            Verdict::Fits
        );
    }

    #[test]
    fn a_database_that_is_short_of_handles_takes_no_tenant_whatever_is_set() {
        let short = FileUsage { handles: 18_501, ..FULL };
        assert_eq!(TenantCapacity::new(0).judge(&short), Verdict::NotNow);
        assert_eq!(TenantCapacity::new(1_000_000).judge(&short), Verdict::NotNow);
        // Connections and files of the database's own come on top of the tenants'.
        let open = FileUsage { collections: 17_000, handles: 17_200, ..FULL };
        assert_eq!(TenantCapacity::new(0).judge(&open), Verdict::Full);
    }
}
