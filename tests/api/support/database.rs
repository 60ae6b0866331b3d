//! The test run's embedded MongoDB and the databases of each test.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use mongodb::{Client, Collection};
use rustix::process::Pid;
use secrecy::ExposeSecret;
use tenantry::{
    dev::{Embedded, EmbeddedOptions},
    startup::store_settings,
    store::Store,
};
use tokio::sync::OnceCell;

use super::app::test_settings;

/// Leftover databases with this prefix are dropped when a run starts the embedded MongoDB.
const PREFIX: &str = "test_";

/// The databases of one test.
#[derive(Clone)]
pub struct Database {
    pub uri: String,
    pub master: String,
    pub tenants: String,
}

/// An embedded database in `dir`, with the `mongod` that is already downloaded, if there is one.
pub fn embedded_options(dir: &Path) -> EmbeddedOptions {
    let downloaded = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tenantry/bin/mongod");
    let named = std::env::var_os("TENANTRY_MONGOD").map(PathBuf::from);
    EmbeddedOptions {
        dir: dir.to_owned(),
        mongod: named.or_else(|| downloaded.exists().then_some(downloaded)),
        supervisor: env!("CARGO_BIN_EXE_tenantry").into(),
        cache_gb: 0.5,
    }
}

/// The process id of the `mongod` of an embedded database.
pub fn mongod_pid(dir: &Path) -> Pid {
    let record = std::fs::read_to_string(dir.join("mongod.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    Pid::from_raw(i32::try_from(record["pid"].as_i64().unwrap()).unwrap()).unwrap()
}

/// The `mongod` program of the test run.
pub async fn mongod_program() -> PathBuf {
    embedded().await;
    let pid = mongod_pid(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongodb"));
    std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).unwrap()
}

async fn embedded() -> &'static Embedded {
    static EMBEDDED: OnceCell<Embedded> = OnceCell::const_new();
    EMBEDDED
        .get_or_init(|| async {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongodb");
            let embedded = Embedded::start(&embedded_options(&dir))
                .await
                .expect("the embedded MongoDB did not start");
            if !embedded.attached() {
                sweep(embedded.uri().expose_secret()).await;
            }
            embedded
        })
        .await
}

/// Drops the databases that killed runs left behind.
async fn sweep(uri: &str) {
    let client = Client::with_uri_str(uri).await.unwrap();
    for name in client.list_database_names().await.unwrap() {
        if name.starts_with(PREFIX) {
            client.database(&name).drop().await.unwrap();
        }
    }
}

impl Database {
    /// Empty databases in the MongoDB of the test run.
    pub async fn new() -> Self {
        Self::of(embedded().await)
    }

    /// Empty databases in an embedded MongoDB of the test's own.
    pub fn of(embedded: &Embedded) -> Self {
        Self::at(embedded.uri().expose_secret())
    }

    /// Empty databases in the embedded MongoDB of a server that uses this directory.
    pub fn in_dir(dir: &Path) -> Self {
        let [port, key] =
            ["port", "mongod.key"].map(|name| std::fs::read_to_string(dir.join(name)).unwrap());
        Self::at(&format!("mongodb://tenantry:{key}@127.0.0.1:{port}/?directConnection=true"))
    }

    /// Empty databases in the MongoDB at `uri`.
    pub fn at(uri: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        Self { uri: uri.to_owned(), master: format!("{name}_m"), tenants: format!("{name}_t") }
    }

    /// Databases with other names in the same MongoDB.
    pub fn named(self, master: &str, tenants: &str) -> Self {
        Self { master: master.to_owned(), tenants: tenants.to_owned(), ..self }
    }

    pub async fn store(&self) -> Store {
        let settings = store_settings(&test_settings(self), Some(self.uri.clone().into()));
        Store::connect(&settings).await.expect("the store did not connect")
    }

    /// Direct access that bypasses the store, to read or corrupt stored documents.
    pub async fn master(&self, collection: &str) -> Collection<Document> {
        self.collection(&self.master, collection).await
    }

    pub async fn tenant(&self, collection: &str) -> Collection<Document> {
        self.collection(&self.tenants, collection).await
    }

    #[expect(clippy::disallowed_methods, reason = "tests bypass the store")]
    async fn collection(&self, database: &str, collection: &str) -> Collection<Document> {
        self.client().await.database(database).collection(collection)
    }

    pub async fn client(&self) -> Client {
        Client::with_uri_str(&self.uri).await.unwrap()
    }

    pub async fn tenant_collections(&self) -> Vec<String> {
        let mut names =
            self.client().await.database(&self.tenants).list_collection_names().await.unwrap();
        names.sort();
        names
    }

    /// How many organizations, accounts and open renames and deletes there are.
    pub async fn counts(&self) -> (u64, u64, u64) {
        let count =
            async |name, filter| self.master(name).await.count_documents(filter).await.unwrap();
        (
            count("organizations", doc! {}).await,
            count("accounts", doc! {}).await,
            count("tasks", doc! { "exclusive": true }).await,
        )
    }

    /// The number of editions of charts that are being imported or removed.
    pub async fn spare_editions(&self) -> u64 {
        self.master("spare_editions").await.count_documents(doc! {}).await.unwrap()
    }

    /// The connection string for servers. Its `appName` identifies their transactions.
    pub fn uri_of_servers(&self) -> String {
        let separator = if self.uri.contains('?') { '&' } else { '?' };
        format!("{}{separator}appName={}", self.uri, self.master)
    }

    /// Ends the open transactions of a killed server. MongoDB would end them after 20 seconds;
    /// until then they block other writes to the same documents.
    pub async fn end_transactions(&self) {
        let admin = self.client().await.database("admin");
        let open = [
            doc! { "$currentOp": { "allUsers": true, "idleSessions": true } },
            doc! { "$match": { "appName": &self.master, "transaction": { "$exists": true } } },
        ];
        let open: Vec<Document> = admin.aggregate(open).await.unwrap().try_collect().await.unwrap();
        let sessions = open.iter().map(|operation| {
            let id = operation.get_document("lsid").unwrap().get("id").unwrap();
            Bson::from(doc! { "id": id })
        });
        let sessions: Vec<Bson> = sessions.collect();
        if !sessions.is_empty() {
            admin.run_command(doc! { "killSessions": sessions }).await.unwrap();
        }
    }

    /// Drops both databases. Works in any runtime, because it uses its own.
    pub fn drop_all(&self) {
        let this = self.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                if let Ok(client) = Client::with_uri_str(&this.uri).await {
                    // The runtime of a server in this process may be blocked by this thread, so its
                    // transactions would stay open.
                    this.end_transactions().await;
                    let _ = client.database(&this.master).drop().await;
                    let _ = client.database(&this.tenants).drop().await;
                }
            });
        });
        let _ = dropping.join();
    }
}
