//! `TenantManager`: the centre through which every room above it works.

mod accounts;
mod agenda;
mod audit;
mod ceiling;
mod charts;
mod combiner;
mod demo;
mod directory;
mod drains;
mod early;
mod employees;
mod event_input;
mod events;
mod feeds;
mod fence;
mod imports;
mod large;
mod lifecycle;
mod occurrences;
mod organizations;
mod recovery;
mod registrations;
mod scope;
mod seed;
mod sessions;
mod teams;
mod turns;
mod verify;

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

pub use accounts::{MemberInput, MemberPatch};
pub use agenda::Agenda;
pub use ceiling::Ceiling;
pub use combiner::Combiner;
pub use demo::DemoOrg;
pub use directory::Directory;
pub use drains::Drains;
pub use employees::{Departure, EmployeeInput, EmployeePatch};
pub use event_input::{EventInput, EventPatch, RecurrenceInput, ScheduleInput};
pub use feeds::{Feed, FeedItem, Feeds, Poll};
pub use fence::Found;
pub use imports::ImportMode;
pub use large::{Room, Rooms};
pub use occurrences::Window;
pub use organizations::{OrgPatch, OrgView, SignUp};
pub use registrations::Ticket;
pub use scope::{AdminScope, OrgScope};
pub use seed::{ChartSeed, Seeded};
pub use sessions::{Login, LoginKind, Session};
pub use teams::{Part, WholeChart};
pub use turns::Turns;
pub use verify::{Finding, Report};

pub use crate::store::{Held, Span};
use crate::{
    auth::{LoginThrottle, PasswordHasher, PollThrottle, SignUpThrottle, TokenIssuer},
    domain::{Clock, OrgId},
    store::Store,
};

/// Does everything that the platform can do, on behalf of whoever holds the scope for it.
///
/// One `impl` block per resource, a file each. Built once and shared.
pub struct TenantManager {
    store: Store,
    directory: Arc<Directory>,
    passwords: PasswordHasher,
    tokens: TokenIssuer,
    throttles: Throttles,
    clock: Arc<dyn Clock>,
    work: Work,
}

/// The limits on guessing and signing up.
pub struct Throttles {
    /// On failed logins.
    pub logins: LoginThrottle,
    /// On new organizations.
    pub sign_ups: SignUpThrottle,
    /// On polls of calendar feeds.
    pub polls: PollThrottle,
    /// On the number of tenants.
    pub ceiling: Ceiling,
}

/// How the manager works on what outlives a request.
pub struct Work {
    /// Steps that go on when the client who asked for them has gone.
    pub tasks: TaskTracker,
    /// Where they run: a runtime that outlives the threads that answer requests.
    pub runtime: tokio::runtime::Handle,
    /// Tenants whose secondary indexes this process has asked for.
    pub indexed: moka::sync::Cache<OrgId, ()>,
    /// Who changes which chart, or the charts and seats of which tenant, next.
    pub turns: Turns,
    /// Where there is room for large charts.
    pub rooms: Rooms,
    /// Registrations that wait for their transaction.
    pub combiner: Combiner,
    /// Cancellations that are under way in this process.
    pub drains: Drains,
    /// Events and their occurrences, as far as they were asked for.
    pub agenda: Agenda,
    /// Calendar feeds that were read lately.
    pub feeds: Feeds,
    /// How long a request waits for a tenant that is being moved or changed.
    pub patience: Duration,
}

impl TenantManager {
    /// Puts the manager together.
    #[must_use]
    pub fn new(
        store: Store,
        passwords: PasswordHasher,
        tokens: TokenIssuer,
        throttles: Throttles,
        clock: Arc<dyn Clock>,
        work: Work,
    ) -> Self {
        let directory = Arc::new(Directory::new(store.clone()));
        Self { store, directory, passwords, tokens, throttles, clock, work }
    }

    /// The cached view of the master database; the process keeps it fresh with
    /// [`Directory::follow_changes`].
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Waits for the steps that go on behind requests.
    pub async fn finish_work(&self) {
        self.work.tasks.close();
        self.work.tasks.wait().await;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The store's.
    pub async fn check_health(&self) -> crate::error::Result<()> {
        self.store.ping().await
    }
}
