//! A server in the test's process, with its own port and databases.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use tenantry::{
    config::Settings,
    domain::SystemClock,
    manager::{OrgContext, TenantManager},
    startup::{Application, store_settings},
    upkeep,
};

use super::{Client, Database, Org, SECRET};

/// The server and a client without a token.
pub struct TestApp {
    pub database: Database,
    pub manager: Arc<TenantManager>,
    client: Client,
    handle: ServerHandle,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(Database::new().await, change).await
    }

    pub async fn on(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = test_settings(&database);
        change(&mut settings);
        let built = Application::build(
            &settings,
            store_settings(&settings, Some(database.uri_of_servers().into())),
            Some(SECRET.to_owned().into()),
            Arc::new(SystemClock),
        );
        let application = built.await.expect("the server did not start");
        let client = Client::new(format!("http://{}", application.address()));
        let (handle, manager) = (application.handle(), Arc::clone(application.manager()));
        tokio::spawn(application.run_until_stopped());
        Self { database, manager, client, handle }
    }

    /// The context of the organization's admin, for all of a test.
    pub async fn context(&self, org: &Org) -> OrgContext {
        let ctx = self.manager.authenticate(&org.token).await.expect("no context");
        ctx.until(Instant::now() + Duration::from_hours(1))
    }

    /// Asserts that `verify` finds nothing.
    pub async fn assert_sound(&self) {
        let report = upkeep::verify(&self.manager, |_| {}).await.unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

impl Deref for TestApp {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // The stop command is sent even though the returned future is not polled.
        drop(self.handle.stop(false));
        self.database.drop_all();
    }
}

/// Production's limits on two threads, with cheap password hashes.
pub fn test_settings(database: &Database) -> Settings {
    Settings::load(|name| {
        let value = match name {
            "MASTER_DB" => &database.master,
            "TENANT_DB" => &database.tenants,
            "BIND" => "127.0.0.1:0",
            "WORKERS" => "2",
            "HASH_ITERATIONS" => "1",
            "HASH_MEMORY_KIB" => "256",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .expect("invalid settings")
}
