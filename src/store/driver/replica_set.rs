//! Makes a single `mongod` the primary of a one-node replica set with one user.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{AuthMechanism, ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Database};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// The name of the one-node replica set.
pub const REPLICA_SET: &str = "tenantry";

/// The user for everything but setting up; its password is the key of the replica set.
pub const USER: &str = "tenantry";

/// The user that every `mongod` with a key file has, with the key as its password. Only this module
/// uses it, because MongoDB treats its commands as those of another node.
const SYSTEM: (&str, &str) = ("__system", "local");
const POLL: Duration = Duration::from_millis(20);
/// This many refused logins are no accident, such as another server on the port for a moment.
const REFUSED_LOGINS: u32 = 4;
/// After a refused login, the driver waits this long before it tries another one; the shortest it
/// allows.
const LOGIN_AGAIN: Duration = Duration::from_millis(500);
const USER_EXISTS: i32 = 51003;
const NOT_YET_INITIALIZED: i32 = 94;
const ALREADY_INITIALIZED: i32 = 23;

/// Why a `mongod` did not become a writable primary.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaSetError {
    /// The driver refused its settings.
    #[error("the MongoDB driver could not be set up: {0}")]
    Driver(#[from] Error),
    /// It took too long.
    #[error("it did not become a writable primary within {seconds} s ({last})")]
    TimedOut {
        /// The deadline in seconds.
        seconds: u64,
        /// The last observed state.
        last: String,
    },
    /// It runs with another key or without one.
    #[error(
        "it does not accept the key of its directory, because it was started by an earlier release \
         or with another key: stop the servers that use it and start again"
    )]
    Refused,
}

/// Waits until the `mongod` that serves `db_path` on the loopback `port` is a writable primary.
///
/// Initiates the replica set if it is new, updates its port if that has changed, and creates
/// [`USER`]. Leaves a server with another `db_path` on the port alone.
///
/// # Errors
/// [`ReplicaSetError::TimedOut`] if the node is not a writable primary within `deadline`;
/// [`ReplicaSetError::Refused`] if it was not started with this key;
/// [`ReplicaSetError::Driver`] if the driver refuses its settings.
pub async fn ensure_primary(
    port: u16,
    db_path: &Path,
    key: &SecretString,
    deadline: Duration,
) -> Result<(), ReplicaSetError> {
    let until = Instant::now() + deadline;
    let mut node = Node {
        host: format!("{}:{port}", Ipv4Addr::LOCALHOST),
        port,
        db_path,
        key,
        last: "it does not answer".to_owned(),
    };
    match timeout_at(until, node.drive()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ReplicaSetError::TimedOut { seconds: deadline.as_secs(), last: node.last }),
    }
}

struct Node<'a> {
    host: String,
    port: u16,
    db_path: &'a Path,
    key: &'a SecretString,
    last: String,
}

impl Node<'_> {
    async fn drive(&mut self) -> Result<(), ReplicaSetError> {
        // The driver retries only every half second; a plain socket reports success at once.
        while let Err(error) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
            self.last = error.to_string();
            sleep(POLL).await;
        }
        let client = self.client(SYSTEM)?;
        let admin = client.database("admin");
        let mut refused = 0;
        loop {
            match self.step(&admin).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    refused += u32::from(is_refusal(&error));
                    self.last = error.to_string();
                }
            }
            if refused == REFUSED_LOGINS {
                return Err(ReplicaSetError::Refused);
            }
            sleep(POLL).await;
        }
        client.shutdown().await;
        Ok(())
    }

    /// One step towards a primary with a user; `true` once the node is one.
    async fn step(&mut self, admin: &Database) -> Result<bool, Error> {
        if !self.is_ours(admin).await? {
            "another server answers on its port".clone_into(&mut self.last);
            return Ok(false);
        }
        let hello = admin.run_command(doc! { "hello": 1 }).await?;
        let primary = hello.get_bool("isWritablePrimary").unwrap_or(false);
        if primary && hello.get_str("me").is_ok_and(|me| me == self.host) {
            self.ensure_user(admin).await?;
            return Ok(true);
        }
        "it answers, but is not a writable primary yet".clone_into(&mut self.last);
        match admin.run_command(doc! { "replSetGetConfig": 1 }).await {
            Ok(reply) => self.reconfigure(admin, reply).await?,
            Err(error) if code(&error) == Some(NOT_YET_INITIALIZED) => self.initiate(admin).await?,
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    /// Whether the server on the port is this node; another one may have won the race for the port.
    async fn is_ours(&self, admin: &Database) -> Result<bool, Error> {
        let reply = admin.run_command(doc! { "getCmdLineOpts": 1 }).await?;
        let path = reply
            .get_document("parsed")
            .and_then(|parsed| parsed.get_document("storage"))
            .and_then(|storage| storage.get_str("dbPath"));
        Ok(path.is_ok_and(|path| Path::new(path) == self.db_path))
    }

    async fn initiate(&self, admin: &Database) -> Result<(), Error> {
        let config = doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": &self.host }] };
        match admin.run_command(doc! { "replSetInitiate": config }).await {
            Err(error) if code(&error) != Some(ALREADY_INITIALIZED) => Err(error),
            _ => Ok(()),
        }
    }

    /// Updates the address of the only member if it has changed.
    async fn reconfigure(&self, admin: &Database, reply: Document) -> Result<(), Error> {
        let Some(config) = with_new_host(reply, &self.host) else {
            return Ok(());
        };
        let command = doc! { "replSetReconfig": config, "force": true };
        admin.run_command(command).await.map(|_| ())
    }

    /// Creates the user, or sets its password if that is not the key, because the file with an
    /// earlier key was lost.
    async fn ensure_user(&self, admin: &Database) -> Result<(), Error> {
        let client = self.client((USER, "admin"))?;
        let login = client.database("admin").run_command(doc! { "ping": 1 }).await;
        client.shutdown().await;
        match login {
            Err(error) if is_refusal(&error) => {}
            otherwise => return otherwise.map(|_| ()),
        }
        let key = self.key.expose_secret();
        let mechanisms = ["SCRAM-SHA-256"];
        let create = doc! {
            "createUser": USER, "pwd": key, "roles": ["root"], "mechanisms": mechanisms.as_slice(),
        };
        match admin.run_command(create).await {
            Err(error) if code(&error) == Some(USER_EXISTS) => {
                admin.run_command(doc! { "updateUser": USER, "pwd": key }).await?;
                Ok(())
            }
            otherwise => otherwise.map(|_| ()),
        }
    }

    fn client(&self, (user, database): (&str, &str)) -> Result<Client, Error> {
        let host = Ipv4Addr::LOCALHOST.to_string();
        let credential = Credential::builder()
            .username(user.to_owned())
            .password(self.key.expose_secret().to_owned())
            .source(database.to_owned())
            .mechanism(AuthMechanism::ScramSha256)
            .build();
        let options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp { host, port: Some(self.port) }])
            .credential(credential)
            .direct_connection(true)
            .heartbeat_freq(LOGIN_AGAIN)
            .server_selection_timeout(Duration::from_secs(1))
            .connect_timeout(Duration::from_secs(1))
            .build();
        Client::with_options(options)
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Authentication { .. })
}

/// The configuration with `host` as the address of its member; `None` if it is that already.
fn with_new_host(mut reply: Document, host: &str) -> Option<Document> {
    let Some(Bson::Document(mut config)) = reply.remove("config") else {
        return None;
    };
    let members = config.get_array_mut("members").ok()?;
    let [Bson::Document(member)] = members.as_mut_slice() else {
        return None;
    };
    let before = member.insert("host", host);
    (before != Some(Bson::String(host.to_owned()))).then_some(config)
}

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_port_is_updated_and_an_unchanged_one_is_not() {
        let reply = doc! { "config": { "_id": "tenantry", "version": 3, "members": [{ "_id": 0, "host": "127.0.0.1:1" }] } };
        let config = with_new_host(reply.clone(), "127.0.0.1:2").unwrap();
        let member = doc! { "_id": 0, "host": "127.0.0.1:2" };
        assert_eq!(config, doc! { "_id": "tenantry", "version": 3, "members": [member] });
        assert_eq!(with_new_host(reply, "127.0.0.1:1"), None);
    }
}
