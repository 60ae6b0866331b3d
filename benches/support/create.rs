//! `POST /org/create`. Its floors are the bare transaction and the bare hash.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use mongodb::{
    Client, ClientSession,
    error::TRANSIENT_TRANSACTION_ERROR,
    options::{ClusteredIndex, WriteConcern},
};
use serde_json::json;

use super::{
    Result,
    bench::Bench,
    client::{self, Connection},
    database::{Databases, PASSWORD, name_of},
    load::{Limits, drive},
    login,
    server::Server,
};

const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn run(bench: &mut Bench, server: &Server) -> Result<()> {
    let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
    let limits = Limits::seconds(bench.load.window);
    let sample = drive(&mut connections, limits, async |connection, number| {
        let name = name_of(number);
        let email = format!("{name}@example.com");
        let body = json!({ "organization_name": name, "email": email, "password": PASSWORD });
        connection.succeeds(client::post("/org/create", &body)).await
    });
    let creates = bench.measure("create", Some(server), sample).await?.rate;

    let databases = bench.fresh("floor").await?;
    let driver = databases.driver().await?;
    let mut sessions = Vec::new();
    for _ in 0..bench.load.connections {
        sessions.push(driver.start_session().await?);
    }
    let sample = drive(&mut sessions, limits, async |session, number| {
        create_bare(&driver, session, &databases, &name_of(number)).await.is_ok()
    });
    let bare = bench.measure("  floor: transaction of the bare driver", None, sample).await?.rate;
    let hashes = login::hash_rate(bench).await?;
    bench.report.share("create / bare transaction", creates, bare, None);
    bench.report.share("create / bare argon2id", creates, hashes, None);
    Ok(())
}

/// The writes of a sign-up and nothing else.
async fn create_bare(
    driver: &Client,
    session: &mut ClientSession,
    databases: &Databases,
    name: &str,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        session.start_transaction().write_concern(WriteConcern::majority()).await?;
        let outcome = match write(driver, session, databases, name).await {
            Ok(()) => session.commit_transaction().await,
            Err(error) => {
                session.abort_transaction().await?;
                Err(error)
            }
        };
        match outcome {
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tokio::time::sleep(PAUSE).await;
            }
            settled => return Ok(settled?),
        }
    }
    Err("the transaction conflicted each time".into())
}

#[expect(clippy::disallowed_methods, reason = "the floor uses the driver without the store")]
async fn write(
    driver: &Client,
    session: &mut ClientSession,
    databases: &Databases,
    name: &str,
) -> mongodb::error::Result<()> {
    let master = driver.database(&databases.master);
    let tenants = driver.database(&databases.tenants);
    let (org, place) = (ObjectId::new(), format!("org_{name}"));
    let account = doc! { "_id": ObjectId::new(), "org_id": org, "email": name, "role": "admin" };
    master.collection::<Document>("accounts").insert_one(account).session(&mut *session).await?;
    let location = doc! { "database": &databases.tenants, "collection": &place };
    let organization = doc! { "_id": org, "name": name, "slugs": [name], "location": location };
    let organizations = master.collection::<Document>("organizations");
    organizations.insert_one(organization).session(&mut *session).await?;
    let create = tenants.create_collection(&place).clustered_index(ClusteredIndex::default());
    create.session(&mut *session).await?;
    let fence = doc! { "_id": { "org": org, "kind": "tenant" }, "writes": 0_i64 };
    tenants.collection::<Document>(&place).insert_one(fence).session(&mut *session).await?;
    Ok(())
}
