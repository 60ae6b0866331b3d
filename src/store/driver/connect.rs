//! Connecting to the database, with error messages that say what to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::doc;
use mongodb::{
    Client,
    error::ErrorKind,
    event::{EventHandler, command::CommandEvent},
    options::{ClientOptions, ReadConcern, ReadPreference, WriteConcern},
};

use super::{Connections, StoreError, diagnosis};
use crate::{
    error::Result,
    store::{Limits, Store, schema},
};

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The connection string, which may contain the password.
    pub uri: secrecy::SecretString,
    /// User and password, used if the connection string has none.
    pub credentials: Option<(String, secrecy::SecretString)>,
    /// The master database's name.
    pub master: String,
    /// The tenants' database's name.
    pub tenants: String,
    /// How long a call waits for a usable server.
    pub selection_timeout: Duration,
    /// How long a transaction is retried after conflicts.
    pub transaction_deadline: Duration,
    /// Whether to measure the duration of every command. It makes the driver decode every reply
    /// twice.
    pub command_metrics: bool,
    /// How long an operation is leased to the process that works on it.
    pub lease: Duration,
}

/// Why there is no connection, in sentences for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The connection string is invalid.
    #[error("MONGO_URI is not a MongoDB connection string: {0}")]
    Uri(String),
    /// No server answers.
    #[error(
        "no MongoDB answers at {hosts}: {reason}. Start one there, correct MONGO_URI (or MONGO_HOST \
         and MONGO_PORT), or unset it to use the embedded MongoDB"
    )]
    Unreachable {
        /// The hosts of the connection string.
        hosts: String,
        /// The error of the driver.
        reason: String,
    },
    /// The server refuses user or password.
    #[error(
        "MongoDB at {hosts} refuses the login. Check MONGO_USER and MONGO_PASSWORD, or the ones in MONGO_URI"
    )]
    Refused {
        /// The hosts of the connection string.
        hosts: String,
    },
    /// A standalone server has no transactions.
    #[error(
        "MongoDB at {host} is a standalone server, and Tenantry needs transactions. Start it with \
         --replSet rs0 and run rs.initiate() in mongosh once; one node is enough"
    )]
    Standalone {
        /// Who says so.
        host: String,
    },
    /// The replica set does not exist yet.
    #[error(
        "MongoDB at {host} was started with --replSet, but its replica set is not initiated. Run \
         rs.initiate() in mongosh once"
    )]
    NotInitiated {
        /// Who says so.
        host: String,
    },
    /// The connection string names another replica set.
    #[error(
        "MongoDB at {host} belongs to the replica set {found}, but MONGO_URI says \
         replicaSet={named}. Correct it to replicaSet={found}"
    )]
    WrongSet {
        /// Who says so.
        host: String,
        /// The name in the connection string.
        named: String,
        /// The real name.
        found: String,
    },
    /// Somebody answers, and no primary.
    #[error(
        "MongoDB at {host} answers, but no primary of its replica set does. Its members are \
         {members}: a majority of them must be up, and each must be reachable from here by that name"
    )]
    NoPrimary {
        /// Who says so.
        host: String,
        /// What the members call themselves.
        members: String,
    },
    /// The server is too old.
    #[error(
        "MongoDB at {hosts} speaks wire version {found}; Tenantry needs MongoDB 6.0 (17) or newer"
    )]
    TooOld {
        /// The hosts of the connection string.
        hosts: String,
        /// The server's wire version.
        found: i32,
    },
    /// The server answers, but the databases cannot be set up.
    #[error("the database cannot be set up: {0}")]
    Setup(String),
}

/// MongoDB 6.0: clustered collections, `collectionUUID` on `drop`.
const OLDEST_WIRE_VERSION: i32 = 17;
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Connects, checks that the deployment supports what Tenantry needs, and creates the indexes.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, ConnectError> {
        let options = client_options(settings).await?;
        let connections =
            Connections::new(options.clone()).map_err(|e| ConnectError::Uri(e.to_string()))?;
        let hosts = connections.hosts();
        check_deployment(&connections.client(), &options, &hosts).await?;
        let store = Self {
            connections: Arc::new(connections),
            master: settings.master.clone(),
            tenants: settings.tenants.clone(),
            limits: Limits { answer: settings.transaction_deadline, lease: settings.lease },
        };
        for (collection, indexes) in schema::master_indexes() {
            store
                .master_collection::<bson::Document>(collection)
                .create_indexes(indexes)
                .await
                .map_err(|e| ConnectError::Setup(StoreError::from(e).to_string()))?;
        }
        let adopted = store.adopt_old_tasks().await;
        adopted.map_err(|e| ConnectError::Setup(e.detail().unwrap_or_else(|| e.to_string())))?;
        Ok(store)
    }

    /// The servers of the connection string, without user and password.
    #[must_use]
    pub fn hosts(&self) -> String {
        self.connections.hosts()
    }

    /// Returns an error unless the primary answers within two seconds.
    ///
    /// # Errors
    /// [`StoreError::TimedOut`] after two seconds; [`StoreError::Driver`] if the call fails.
    pub async fn ping(&self) -> Result<()> {
        let master = self.client().database(&self.master);
        let call = tokio::time::timeout(PING_TIMEOUT, master.run_command(doc! { "ping": 1 }));
        let answer = call.await.map_err(|_| StoreError::TimedOut { call: "ping" })?;
        answer.map_err(StoreError::from)?;
        Ok(())
    }
}

async fn client_options(settings: &StoreSettings) -> Result<ClientOptions, ConnectError> {
    use secrecy::ExposeSecret;

    let uri = settings.uri.expose_secret();
    let mut options = ClientOptions::parse(uri).await.map_err(|e| match e.kind.as_ref() {
        // The driver's reason may quote a part of the password.
        ErrorKind::InvalidArgument { .. } if uri.contains('@') => ConnectError::Uri(
            "characters such as : / ? # @ % of the user and the password must be percent-encoded, \
             and hosts and options be as in mongodb://user:password@host:27017/?replicaSet=rs0"
                .to_owned(),
        ),
        _ => ConnectError::Uri(e.to_string()),
    })?;
    if let (None, Some((user, password))) = (&options.credential, &settings.credentials) {
        let credential = mongodb::options::Credential::builder()
            .username(user.clone())
            .password(password.expose_secret().to_owned())
            .build();
        options.credential = Some(credential);
    }
    options.app_name.get_or_insert_with(|| "tenantry".to_owned());
    options.server_selection_timeout = Some(settings.selection_timeout);
    options.connect_timeout.get_or_insert(Duration::from_secs(5));
    options.retry_writes = Some(true);
    // On a secondary, replication lag would look like a missing document.
    options.selection_criteria = Some(ReadPreference::Primary.into());
    options.write_concern = Some(WriteConcern::majority());
    // A cache filled by local reads could keep data that a failover rolls back.
    options.read_concern = Some(ReadConcern::majority());
    if settings.command_metrics {
        options.command_event_handler = Some(EventHandler::callback(count_command));
    }
    Ok(options)
}

fn count_command(event: CommandEvent) {
    let (command, outcome, duration) = match event {
        CommandEvent::Succeeded(e) => (e.command_name, "ok", e.duration),
        CommandEvent::Failed(e) => (e.command_name, "error", e.duration),
        _ => return,
    };
    metrics::histogram!("tenantry_mongo_command_seconds", "command" => command, "outcome" => outcome)
        .record(duration.as_secs_f64());
}

async fn check_deployment(
    client: &Client,
    options: &ClientOptions,
    hosts: &str,
) -> Result<(), ConnectError> {
    let started = Instant::now();
    let hello = match client.database("admin").run_command(doc! { "hello": 1 }).await {
        Ok(hello) => hello,
        Err(e) if matches!(e.kind.as_ref(), ErrorKind::Authentication { .. }) => {
            return Err(ConnectError::Refused { hosts: hosts.to_owned() });
        }
        Err(e) => {
            let selecting = matches!(e.kind.as_ref(), ErrorKind::ServerSelection { .. });
            let reason = format!("{} (after {:.0?})", StoreError::from(e), started.elapsed());
            let unreachable = ConnectError::Unreachable { hosts: hosts.to_owned(), reason };
            let found = if selecting { diagnosis::of_hosts(options).await } else { None };
            return Err(found.unwrap_or(unreachable));
        }
    };
    if let Some(error) = diagnosis::of_answer(&hello, hosts, None) {
        return Err(error);
    }
    let found = hello.get_i32("maxWireVersion").unwrap_or_default();
    if found < OLDEST_WIRE_VERSION {
        return Err(ConnectError::TooOld { hosts: hosts.to_owned(), found });
    }
    Ok(())
}
