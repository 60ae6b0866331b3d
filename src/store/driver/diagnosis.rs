//! Why a database cannot be used although a server answers.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::{
    Client,
    options::{ClientOptions, ServerAddress},
};

use super::ConnectError;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Asks each host of the connection string by itself, without a login, since the driver says no more
/// than that it has found no primary. `None` if none of them answers, or the reason lies elsewhere.
pub(super) async fn of_hosts(options: &ClientOptions) -> Option<ConnectError> {
    for host in &options.hosts {
        if let Some(hello) = ask(options, host).await {
            let (host, set) = (host.to_string(), options.repl_set_name.as_deref());
            let secondary = !hello.get_bool("isWritablePrimary").unwrap_or(true);
            return of_answer(&hello, &host, set).or_else(|| {
                secondary.then(|| ConnectError::NoPrimary { host, members: members(&hello) })
            });
        }
    }
    None
}

/// What keeps a server from being used, by its answer to `hello`; `set` is the name of the replica
/// set in the connection string.
pub(super) fn of_answer(hello: &Document, host: &str, set: Option<&str>) -> Option<ConnectError> {
    let host = host.to_owned();
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return None;
    }
    match (hello.get_str("setName"), set) {
        (Err(_), _) if hello.get_bool("isreplicaset").unwrap_or(false) => {
            Some(ConnectError::NotInitiated { host })
        }
        (Err(_), _) => Some(ConnectError::Standalone { host }),
        (Ok(found), Some(named)) if found != named => {
            Some(ConnectError::WrongSet { host, named: named.to_owned(), found: found.to_owned() })
        }
        (Ok(_), _) => None,
    }
}

async fn ask(options: &ClientOptions, host: &ServerAddress) -> Option<Document> {
    let mut options = options.clone();
    options.hosts = vec![host.clone()];
    options.direct_connection = Some(true);
    options.repl_set_name = None;
    options.credential = None;
    options.server_selection_timeout = Some(ANSWER_WITHIN);
    let client = Client::with_options(options).ok()?;
    client.database("admin").run_command(doc! { "hello": 1 }).await.ok()
}

fn members(hello: &Document) -> String {
    let hosts = hello.get_array("hosts").into_iter().flatten().filter_map(Bson::as_str);
    hosts.collect::<Vec<_>>().join(", ")
}
