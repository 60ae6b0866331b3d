//! `tenantry verify`: checks every invariant of the stored data.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    domain::{
        ChartId, Clock, OrgId,
        tenancy::{Location, Organization},
    },
    error::Result,
    manager::TenantManager,
    store::Store,
};

/// An invariant that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// A tenant collection that belongs to no organization.
    OrphanCollection(String),
    /// An organization without its collection or tenant document.
    MissingTenant(OrgId, String),
    /// An organization whose slugs do not match its status or its location.
    WrongSlugs(OrgId),
    /// An organization without an admin.
    NoAdmin(OrgId),
    /// Accounts of an organization that does not exist.
    OrphanAccounts(OrgId),
    /// A chart that breaks a rule of the hierarchy.
    BrokenChart(OrgId, ChartId, String),
    /// Employees of charts that do not exist, or that no chart counts.
    UncountedEmployees(OrgId),
    /// Events, seats or calendars that contradict each other.
    WrongSeats(OrgId, String),
    /// Tasks of a kind that have made no progress for long, and how many.
    StuckTasks(String, u64),
}

/// What was checked and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many organizations were checked.
    pub organizations: u64,
    /// How many tenant collections there are.
    pub collections: u64,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

const CONCURRENCY: usize = 16;
/// An operation is stuck if its first lease ended this long ago, a mass cancellation if it has made
/// no progress for this long: no server is left to finish it, or every attempt fails.
const STUCK: Duration = Duration::from_mins(1);

/// Checks every invariant. `progress` receives the number of organizations checked so far.
///
/// The database may be in use: an organization that looks wrong is read again, because it may have
/// changed between reads.
pub async fn verify(manager: &TenantManager, progress: impl Fn(u64)) -> Result<Report> {
    Verifier { store: manager.store(), clock: manager.clock() }.run(progress).await
}

/// The checks of one run.
pub(super) struct Verifier<'m> {
    pub(super) store: &'m Store,
    pub(super) clock: &'m dyn Clock,
}

impl Verifier<'_> {
    async fn run(&self, progress: impl Fn(u64)) -> Result<Report> {
        let mut report = Report::default();
        let before: HashSet<String> = self.store.tenant_collections().await?.into_iter().collect();
        let organizations: Vec<Organization> =
            self.store.all_organizations().await?.try_collect().await?;
        let accounts = self.store.accounts_by_organization().await?;
        let admins: HashMap<OrgId, i64> =
            accounts.iter().map(|facts| (facts.org_id, facts.admins)).collect();

        let checks = stream::iter(&organizations)
            .map(|org| self.check_organization(org, admins.get(&org.id).copied()))
            .buffer_unordered(CONCURRENCY);
        let mut checks = std::pin::pin!(checks);
        while let Some(found) = checks.next().await {
            report.findings.extend(found?);
            report.organizations += 1;
            progress(report.organizations);
        }

        report.collections = before.len() as u64;
        report.findings.extend(self.orphans(before, &organizations).await?);
        let known: HashSet<OrgId> = organizations.iter().map(|org| org.id).collect();
        for facts in accounts {
            if !known.contains(&facts.org_id)
                && self.store.organization(facts.org_id).await?.is_none()
                && self.store.account(facts.example).await?.is_some()
            {
                report.findings.push(Finding::OrphanAccounts(facts.org_id));
            }
        }
        let mut stuck = self.store.stuck_tasks(STUCK).await?;
        let editions = self.store.stuck_spare_editions(STUCK).await?;
        stuck.extend((editions > 0).then(|| ("chart_edition".to_owned(), editions)));
        let stuck = stuck.into_iter();
        report.findings.extend(stuck.map(|(kind, count)| Finding::StuckTasks(kind, count)));
        Ok(report)
    }

    async fn check_organization(
        &self,
        org: &Organization,
        admins: Option<i64>,
    ) -> Result<Vec<Finding>> {
        let mut findings = self.check_once(org).await?;
        if admins.unwrap_or_default() == 0
            && org.is_usable()
            && !self.store.organization_has_admin(org.id).await?
        {
            findings.push(Finding::NoAdmin(org.id));
        }
        if findings.is_empty() {
            return Ok(findings);
        }
        match self.store.organization(org.id).await? {
            Some(now) if now.version == org.version => Ok(findings),
            Some(now) => self.check_once(&now).await,
            None => Ok(Vec::new()),
        }
    }

    async fn check_once(&self, org: &Organization) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut place = None;
        for location in org.locations() {
            if place.is_none() && self.store.tenant(org.id, location).fence_stands().await? {
                place = Some(location);
            }
        }
        if let Some(location) = place {
            findings.extend(self.check_tenant(org.id, location).await?);
        } else if org.is_usable() {
            findings.push(Finding::MissingTenant(org.id, org.location.collection.clone()));
        }
        let expected = if org.moving_to.is_some() { 2 } else { 1 };
        let matches = org.slugs.len() == expected
            && org.locations().all(|place| {
                org.slugs.iter().any(|s| Location::collection_for(s) == place.collection)
            });
        if !matches {
            findings.push(Finding::WrongSlugs(org.id));
        }
        Ok(findings)
    }

    /// The candidates that belong to no organization and still exist. Candidates were listed before
    /// the organizations were read; a second look leaves out those renamed or deleted since.
    async fn orphans(
        &self,
        mut candidates: HashSet<String>,
        organizations: &[Organization],
    ) -> Result<Vec<Finding>> {
        for place in organizations.iter().flat_map(Organization::locations) {
            candidates.remove(&place.collection);
        }
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let organizations: Vec<Organization> =
            self.store.all_organizations().await?.try_collect().await?;
        let still: HashSet<String> = self.store.tenant_collections().await?.into_iter().collect();
        let known: HashSet<&String> = organizations
            .iter()
            .flat_map(Organization::locations)
            .map(|place| &place.collection)
            .collect();
        Ok(candidates
            .into_iter()
            .filter(|name| still.contains(name) && !known.contains(name))
            .map(Finding::OrphanCollection)
            .collect())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrphanCollection(name) => {
                write!(f, "collection {name} belongs to no organization")
            }
            Self::MissingTenant(id, collection) => {
                write!(f, "organization {id} has no tenant document in {collection}")
            }
            Self::WrongSlugs(id) => {
                write!(f, "organization {id} has slugs that do not match its status and location")
            }
            Self::NoAdmin(id) => write!(f, "organization {id} has no admin"),
            Self::OrphanAccounts(id) => {
                write!(f, "accounts name organization {id}, which does not exist")
            }
            Self::BrokenChart(id, chart, flaw) => {
                write!(f, "chart {chart} of organization {id} {flaw}")
            }
            Self::UncountedEmployees(id) => {
                write!(f, "organization {id} has employees whom no chart counts")
            }
            Self::WrongSeats(id, flaw) => write!(f, "organization {id} {flaw}"),
            Self::StuckTasks(kind, count) => {
                let tasks = if *count == 1 { "task" } else { "tasks" };
                write!(f, "{count} {tasks} of the kind {kind} made no progress for over a minute")
            }
        }
    }
}
