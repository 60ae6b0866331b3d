//! The databases of a run, and a manager in this process.
#![expect(clippy::print_stdout, reason = "prints progress")]

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use mongodb::{Client, options::ClientOptions};
use tenantry::{
    config::Settings,
    domain::{
        SystemClock,
        identity::{Email, Password},
        tenancy::OrgName,
    },
    manager::{TenantManager, tenancy::SignUp},
    startup,
    store::Store,
};

use super::Result;

/// The databases of one server.
pub(crate) struct Databases {
    uri: String,
    pub(crate) master: String,
    pub(crate) tenants: String,
}

/// Prefix of temporary databases; leftover ones are dropped.
const TEMPORARY: &str = "bench_run_";
const CREATES_AT_ONCE: usize = 16;
pub(crate) const SECRET: &str = "a secret that only this harness uses";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

impl Databases {
    pub(crate) fn fresh(uri: String, name: &str) -> Self {
        Self::named(uri, &format!("{TEMPORARY}{}_{name}", std::process::id()))
    }

    pub(crate) fn kept(uri: String, organizations: u32) -> Self {
        Self::named(uri, &format!("bench_seed_{organizations}"))
    }

    fn named(uri: String, name: &str) -> Self {
        Self { uri, master: format!("{name}_master"), tenants: format!("{name}_tenants") }
    }

    /// The same databases after `mongod` was restarted.
    pub(crate) fn at(&self, uri: String) -> Self {
        Self { uri, master: self.master.clone(), tenants: self.tenants.clone() }
    }

    /// The driver with the server's configuration.
    pub(crate) async fn driver(&self) -> Result<Client> {
        Ok(Client::with_options(ClientOptions::parse(&self.uri).await?)?)
    }

    /// A manager in this process with cheap password hashes.
    pub(crate) async fn manager(&self) -> Result<(Store, Arc<TenantManager>)> {
        let mut settings = Settings::load(|_| None)?;
        settings.mongo.master_db.clone_from(&self.master);
        settings.mongo.tenant_db.clone_from(&self.tenants);
        settings.hash.memory_kib = 64;
        settings.hash.iterations = 1;
        // `scale` measures where the database itself refuses more tenants.
        settings.mongo.max_organizations = 1_000_000;
        let database = startup::store_settings(&settings, Some(self.uri.clone().into()));
        let store = Store::connect(&database).await?;
        let secret = Some(SECRET.to_owned().into());
        let manager =
            startup::build_manager(&settings, store.clone(), secret, Arc::new(SystemClock))?;
        Ok((store, manager))
    }
}

/// Distributes request numbers evenly.
pub(crate) fn scatter(number: u64, of: usize) -> usize {
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    usize::try_from(scattered).unwrap_or_default() % of
}

/// The name of the organization with that number, which is also its slug.
pub(crate) fn name_of(number: u64) -> String {
    format!("bench_{number:06}")
}

/// Creates the missing organizations.
pub(crate) async fn seed(databases: &Databases, organizations: u32) -> Result<()> {
    let (store, manager) = databases.manager().await?;
    let present: HashSet<String> =
        store.all_organizations().await?.map_ok(|found| found.name).try_collect().await?;
    let missing: Vec<String> =
        (0..organizations.into()).map(name_of).filter(|name| !present.contains(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("creating {} organizations, once", missing.len());
    let creates = stream::iter(&missing).map(|name| create(&manager, name));
    creates.buffer_unordered(CREATES_AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn create(manager: &TenantManager, name: &str) -> Result<()> {
    let sign_up = SignUp {
        name: OrgName::parse(name)?,
        email: Email::parse(&format!("{name}@example.com"))?,
        password: Password::parse(PASSWORD.to_owned())?,
        address: [127, 0, 0, 1].into(),
    };
    manager.organization_create(sign_up).await?;
    Ok(())
}

/// Drops the temporary databases of this run and of killed ones.
pub(crate) async fn sweep(uri: &str) -> Result<()> {
    let client = Client::with_uri_str(uri).await?;
    for name in client.list_database_names().await? {
        if name.starts_with(TEMPORARY) {
            client.database(&name).drop().await?;
        }
    }
    Ok(())
}
