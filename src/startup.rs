//! Builds the server from its parts and shuts it down in order.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{dev::ServerHandle, web};
use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{Keys, TokenSettings},
    config::{JwtAlgorithm, MongoSettings, PublicUrl, Settings},
    domain::Clock,
    error::{Error, Result},
    manager::{ManagerSettings, TenantManager},
    store::{
        Store,
        driver::{ConnectError, StoreSettings},
    },
    supervise::supervised,
    telemetry::{self, Traces},
    trust,
    web::{Shared, graphql::GraphQl},
};

/// How long a shutdown waits for operations, after the requests. One operation fits into it.
const WORK_TIMEOUT: Duration = Duration::from_secs(5);

/// A listening server with its background work.
pub struct Application {
    address: SocketAddr,
    manager: Arc<TenantManager>,
    server: actix_web::dev::Server,
    stop: CancellationToken,
    background: TaskTracker,
    traces: Option<Traces>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be reached or used.
    #[error(transparent)]
    Database(#[from] ConnectError),
    /// The address is in use, or does not belong to this machine.
    #[error("cannot listen on {bind}: {source}. Set BIND to another address")]
    Bind {
        /// The address.
        bind: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something else.
    #[error("{}", .0.detail().unwrap_or_else(|| .0.to_string()))]
    Other(#[from] Error),
}

/// How to connect to the database; `embedded_uri` is set if the embedded one is used.
#[must_use]
pub fn store_settings(settings: &Settings, embedded_uri: Option<SecretString>) -> StoreSettings {
    let mongo = &settings.mongo;
    // The connection string of the embedded database names its user. A `.env` that is meant for
    // compose may name another one.
    let credentials = match embedded_uri {
        Some(_) => None,
        None => mongo.user.clone().zip(mongo.password.clone()),
    };
    let uri = embedded_uri.or_else(|| mongo.uri.clone()).unwrap_or_else(|| host_uri(mongo));
    StoreSettings {
        uri,
        credentials,
        master: mongo.master_db.clone(),
        tenants: mongo.tenant_db.clone(),
        selection_timeout: Duration::from_millis(mongo.selection_timeout_ms),
        transaction_deadline: Duration::from_millis(mongo.transaction_deadline_ms),
        command_metrics: mongo.command_metrics,
        lease: Duration::from_secs(settings.operations.lease_seconds),
    }
}

/// Connects directly, because a replica set may list its member under a name unknown here.
fn host_uri(mongo: &MongoSettings) -> SecretString {
    let host = mongo.host.as_deref().unwrap_or("127.0.0.1");
    format!("mongodb://{host}:{}/?directConnection=true", mongo.port).into()
}

/// Builds the manager on a connected store.
///
/// # Errors
/// [`Error::Internal`] if keys or hash parameters are invalid.
pub fn build_manager(
    settings: &Settings,
    store: Store,
    secret: Option<SecretString>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<TenantManager>> {
    let settings = ManagerSettings {
        throttle: settings.throttle,
        hash: settings.hash,
        tokens: token_settings(settings, secret)?,
        max_organizations: settings.mongo.max_organizations,
        patience: Duration::from_millis(settings.operations.patience_ms),
    };
    TenantManager::new(store, settings, clock).map(Arc::new)
}

fn token_settings(settings: &Settings, secret: Option<SecretString>) -> Result<TokenSettings> {
    let jwt = &settings.jwt;
    let pem = |path: &std::path::PathBuf| {
        trust::named(path).map_err(|e| Error::Internal(format!("the JWT key file: {e}")))?;
        std::fs::read_to_string(path).map(SecretString::from).map_err(|e| {
            Error::Internal(format!("the JWT key file {} cannot be read: {e}", path.display()))
        })
    };
    let keys = match jwt.algorithm {
        JwtAlgorithm::HS256 => Keys::Hs256 {
            secret: jwt
                .secret
                .clone()
                .or(secret)
                .ok_or_else(|| Error::Internal("JWT_SECRET is not set".into()))?,
            previous: jwt.previous_secret.clone(),
        },
        JwtAlgorithm::EdDSA => {
            let path = jwt.key_file.as_ref();
            let path = path.ok_or_else(|| Error::Internal("JWT_KEY_FILE is not set".into()))?;
            Keys::EdDsa {
                private_pem: pem(path)?,
                previous_pem: jwt.previous_key_file.as_ref().map(pem).transpose()?,
            }
        }
    };
    Ok(TokenSettings {
        keys,
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        lifetime: Duration::from_secs(jwt.access_token_expire_minutes * 60),
    })
}

impl Application {
    /// Connects to the database, binds the address and starts the background work. Requests are
    /// served by [`Application::run_until_stopped`].
    pub async fn build(
        settings: &Settings,
        database: StoreSettings,
        secret: Option<SecretString>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let metrics = telemetry::start_metrics()?;
        let store = Store::connect(&database).await?;
        let manager = build_manager(settings, store.clone(), secret, clock)?;
        let bind = &settings.server.bind;
        let failed = |source| StartError::Bind { bind: bind.clone(), source };
        let listener = TcpListener::bind(bind).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let stop = CancellationToken::new();
        let background = TaskTracker::new();
        let tenants = Arc::clone(manager.tenant_cache());
        let changes_stop = stop.clone();
        background.spawn(supervised("change_stream", move || {
            let (tenants, stop) = (Arc::clone(&tenants), changes_stop.clone());
            async move { tenants.follow_changes(stop).await }
        }));
        let every = Duration::from_secs(settings.operations.recovery_interval_seconds);
        let (recovering, recovery_stop) = (Arc::clone(&manager), stop.clone());
        background.spawn(supervised("recovery", move || {
            Arc::clone(&recovering).keep_recovering(every, recovery_stop.clone())
        }));
        background.spawn(telemetry::keep_metrics_small(metrics.clone(), stop.clone()));

        let traces = Traces::start(&settings.traces)?;
        let bound = || PublicUrl::of_socket(address);
        let shared = web::Data::new(Shared {
            manager: Arc::clone(&manager),
            server: settings.server.clone(),
            public_url: settings.server.public_url.clone().unwrap_or_else(bound),
            graphql: GraphQl::new(settings.graphql.introspection),
            bodies: Arc::default(),
            answers: Arc::default(),
            texts: Arc::default(),
            metrics,
            traces: traces.clone(),
        });
        let server = crate::web::http::serve(listener, shared, move || {
            // On failure the thread shares the connections that exist.
            let _ = store.use_own_connections();
        })
        .map_err(failed)?;
        Ok(Self { address, manager, server, stop, background, traces })
    }

    /// The listening address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that stops the server after its running requests.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// The manager that serves all requests.
    #[must_use]
    pub const fn manager(&self) -> &Arc<TenantManager> {
        &self.manager
    }

    /// Serves until it is stopped, then finishes requests, operations (for up to 5 seconds),
    /// background work and traces, in this order. Another process continues unfinished operations.
    pub async fn run_until_stopped(self) -> std::io::Result<()> {
        let served = self.server.await;
        if tokio::time::timeout(WORK_TIMEOUT, self.manager.finish_work()).await.is_err() {
            tracing::warn!("work was left unfinished; another process will continue it");
        }
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
        if let Some(traces) = self.traces {
            traces.finish().await;
        }
        served
    }
}
