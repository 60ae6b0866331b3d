//! `tenantry seed org-charts`: generated organizations with charts, created through the same rules
//! as any other.

use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::no_hurry;
use crate::{
    domain::{
        Invalid, Label,
        charts::{self, EmployeeLine, ManagedBy, Placed},
        identity::{Actor, Email, Password, PasswordDigest},
        tenancy::OrgName,
    },
    error::{Error, Result},
    manager::{AdminContext, OrgContext, TenantManager, charts::ImportMode},
};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct ChartSeed {
    /// The total number of charts.
    pub charts: u64,
    /// The number of charts per tenant.
    pub per_tenant: u64,
    /// The number of people in a chart; a random number from 5 to 15 if `None`.
    pub people: Option<u64>,
}

/// What was generated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeded {
    /// New organizations.
    pub organizations: u64,
    /// New charts.
    pub charts: u64,
    /// People in them.
    pub people: u64,
}

const CONCURRENCY: usize = 16;
const FIRST_NAMES: [&str; 16] = [
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Frances", "Tony",
    "Karen", "Leslie", "Shafi", "Niklaus", "Margaret", "Dennis",
];
const LAST_NAMES: [&str; 16] = [
    "Abe", "Bianchi", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Horvat", "Ivanova",
    "Jansen", "Kowalski", "Lindberg", "Mbeki", "Nguyen", "Okafor", "Petrov",
];
const TITLES: [&str; 6] =
    ["Engineer", "Designer", "Analyst", "Product Manager", "Accountant", "Support Specialist"];

/// Creates tenants with charts; their names start with `prefix`. Tenants of an earlier run keep
/// their charts and get the missing ones. `progress` receives the number of charts added since its
/// last call.
///
/// # Errors
/// [`Error::Validation`] if `prefix` cannot start a name; [`Error::Full`] if the database is full.
pub async fn seed_org_charts(
    manager: &TenantManager,
    prefix: &str,
    password: Password,
    seed: ChartSeed,
    progress: impl Fn(u64),
) -> Result<Seeded> {
    // All accounts share one hash: hashing for each would take most of the time.
    let digest = manager.hash_for_operator(password).await?;
    let per_tenant = seed.per_tenant.max(1);
    let tenants = (0..seed.charts.div_ceil(per_tenant)).map(|number| {
        let charts = per_tenant.min(seed.charts - number * per_tenant);
        seed_tenant(manager, prefix, number + 1, &digest, ChartSeed { charts, ..seed }, &progress)
    });
    stream::iter(tenants)
        .buffer_unordered(CONCURRENCY)
        .try_fold(Seeded::default(), |sum, one| async move {
            Ok(Seeded {
                organizations: sum.organizations + one.organizations,
                charts: sum.charts + one.charts,
                people: sum.people + one.people,
            })
        })
        .await
}

async fn seed_tenant(
    manager: &TenantManager,
    prefix: &str,
    number: u64,
    digest: &PasswordDigest,
    seed: ChartSeed,
    progress: &impl Fn(u64),
) -> Result<Seeded> {
    let name = OrgName::parse(&format!("{prefix} {number}")).map_err(invalid)?;
    let local = name.slug().as_str();
    let email = Email::parse(&format!("{local}@example.com")).map_err(invalid)?;
    let organizations = found_once(manager, name, &email, digest).await?.into();
    let mut seeded = Seeded { organizations, ..Seeded::default() };
    let admin = manager.store().account_by_email(&email).await?.ok_or(Error::OrgNameTaken)?;
    let ctx = OrgContext::of(Actor::from(&admin), no_hurry()).admin()?;
    let limit = u32::try_from(seed.charts).unwrap_or(u32::MAX);
    let existing = manager.chart_list(&ctx, None, limit).await?.len() as u64;
    progress(existing.min(seed.charts));
    for chart in existing..seed.charts {
        let mut random = StdRng::seed_from_u64(number << 20 | chart);
        seeded.people += seed_chart(manager, &ctx, seed.people, &mut random).await?;
        seeded.charts += 1;
        progress(1);
    }
    Ok(seeded)
}

/// Signs an organization up unless it exists. Returns whether it is new. The check comes first so
/// that a full database does not refuse one that exists.
pub(super) async fn found_once(
    manager: &TenantManager,
    name: OrgName,
    email: &Email,
    digest: &PasswordDigest,
) -> Result<bool> {
    if manager.store().account_by_email(email).await?.is_some() {
        return Ok(false);
    }
    match manager.organization_found(name, email.clone(), digest.clone()).await {
        Ok(_) => Ok(true),
        Err(Error::OrgNameTaken | Error::EmailTaken) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn seed_chart(
    manager: &TenantManager,
    ctx: &AdminContext,
    people: Option<u64>,
    random: &mut StdRng,
) -> Result<u64> {
    let count = people.unwrap_or_else(|| random.random_range(5..=15)).max(1);
    let places = random_people(count, random)?;
    let name = Label::parse("Company").map_err(invalid)?;
    let chart = manager.chart_create(ctx, name).await?;
    let mode = ImportMode { renumber: true, ..ImportMode::default() };
    manager.chart_import(ctx, chart.id, places, mode).await?;
    Ok(count)
}

/// A company of `count` people: everyone reports to an earlier person, about seven to a manager.
fn random_people(count: u64, random: &mut StdRng) -> Result<Vec<Placed>> {
    let lines: Vec<EmployeeLine> = (1..=count)
        .map(|id| {
            let pick =
                |random: &mut StdRng, of: &[&'static str]| of[random.random_range(0..of.len())];
            let name = format!("{} {}", pick(random, &FIRST_NAMES), pick(random, &LAST_NAMES));
            let (manager, title) = if id == 1 {
                (String::new(), "Chief Executive Officer")
            } else {
                let about = (id - 2) / 7 + 1;
                let manager = random.random_range(about.saturating_sub(2).max(1)..=about);
                (manager.to_string(), pick(random, &TITLES))
            };
            let id = id.to_string();
            EmployeeLine {
                line: 0,
                key: id.clone(),
                id: Some(id),
                name,
                title: title.to_owned(),
                manager,
            }
        })
        .collect();
    charts::place(&lines, ManagedBy::Id)
        .map_err(|errors| Error::Internal(format!("generated people form no chart: {errors:?}")))
}

pub(super) fn invalid(Invalid(reason): Invalid) -> Error {
    Error::field("prefix", reason)
}
