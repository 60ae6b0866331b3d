//! Made-up tenants with charts, through the same rules as everybody's.

use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    domain::{
        Invalid, Label,
        charts::{self, EmployeeLine, ManagedBy, Placed},
        identity::{Actor, Email, Password, PasswordDigest},
        tenancy::OrgName,
    },
    error::{Error, Result},
    manager::{AdminScope, OrgScope, TenantManager, charts::ImportMode},
};

/// What to make up.
#[derive(Clone, Copy, Debug)]
pub struct ChartSeed {
    /// How many charts in all.
    pub charts: u64,
    /// How many of them in one tenant.
    pub per_tenant: u64,
    /// How many people in a chart; 5 to 15 where it is not said.
    pub people: Option<u64>,
}

/// What was made up.
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
    "Abe",
    "Bianchi",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Horvat",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Mbeki",
    "Nguyen",
    "Okafor",
    "Petrov",
];
const TITLES: [&str; 6] =
    ["Engineer", "Designer", "Analyst", "Product Manager", "Accountant", "Support Specialist"];

/// Makes tenants up whose names start with `prefix`, each with its charts. Tenants that are
/// there from an earlier run keep what they have and get the charts that they lack. `progress`
/// hears of each chart.
///
/// # Errors
/// [`Error::Validation`] for a prefix that makes no name, [`Error::Full`]; the store's.
pub async fn seed_org_charts(
    manager: &TenantManager,
    prefix: &str,
    password: Password,
    seed: ChartSeed,
    progress: impl Fn(u64),
) -> Result<Seeded> {
    // One hash for all: it is the same password, and a hash each would take most of the time.
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
    let name = OrgName::parse(&format!("{prefix} {number}")).map_err(|e| invalid(&e))?;
    let local = name.slug().as_str();
    let email = Email::parse(&format!("{local}@example.com")).map_err(|e| invalid(&e))?;
    let organizations = found_once(manager, name, &email, digest).await?.into();
    let mut seeded = Seeded { organizations, ..Seeded::default() };
    let admin = manager.store().account_by_email(&email).await?.ok_or(Error::OrgNameTaken)?;
    let scope = OrgScope::of(Actor::from(&admin)).admin()?;
    let limit = u32::try_from(seed.charts).unwrap_or(u32::MAX);
    let there = manager.chart_list(&scope, None, limit).await?.len() as u64;
    progress(there.min(seed.charts));
    for chart in there..seed.charts {
        let mut random = StdRng::seed_from_u64(number << 20 | chart);
        seeded.people += seed_chart(manager, &scope, seed.people, &mut random).await?;
        seeded.charts += 1;
        progress(1);
    }
    Ok(seeded)
}

/// Signs a made-up organization up unless it is there; whether it is new. One that is there needs
/// no room.
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
    scope: &AdminScope,
    people: Option<u64>,
    random: &mut StdRng,
) -> Result<u64> {
    let count = people.unwrap_or_else(|| random.random_range(5..=15)).max(1);
    let places = made_up(count, random)?;
    let name = Label::parse("Company").map_err(|e| invalid(&e))?;
    let chart = manager.chart_create(scope, name).await?;
    let mode = ImportMode { renumber: true, ..ImportMode::default() };
    manager.chart_import(scope, chart.id, places, mode).await?;
    Ok(count)
}

/// A company of so many: everybody reports to somebody before them, about seven to a manager.
fn made_up(count: u64, random: &mut StdRng) -> Result<Vec<Placed>> {
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
        .map_err(|errors| Error::Internal(format!("made-up people do not fit: {errors:?}")))
}

pub(super) fn invalid(invalid: &Invalid) -> Error {
    Error::field("prefix", invalid.0)
}
