//! How full the database is. A tenant's collection is a file, and a `mongod` that runs out of file
//! handles does not refuse a call: it aborts.

use bson::{Document, doc};

use super::StoreError;
use crate::{error::Result, store::Store};

/// What a `mongod` holds of what it can.
#[derive(Clone, Copy, Debug)]
pub struct FileUsage {
    /// Collections, each a file.
    pub collections: u64,
    /// File handles in use: of files and of connections.
    pub handles: u64,
    /// The most handles that its process may have.
    pub most_handles: u64,
}

impl Store {
    /// How full the primary is; `None` where it does not tell, as where the server's user may not
    /// ask.
    ///
    /// # Errors
    /// The driver's, when the database is out of reach.
    pub async fn file_usage(&self) -> Result<Option<FileUsage>> {
        let host = self.tells(doc! { "hostInfo": 1 }).await?;
        let status = self.tells(doc! { "serverStatus": 1, "metrics": 0, "locks": 0 }).await?;
        let (Some(host), Some(status)) = (host, status) else { return Ok(None) };
        // The manual has it in `extra`; MongoDB 6.0 puts it one level deeper.
        let most_handles = number(&host, "extra.maxOpenFiles")
            .or_else(|| number(&host, "extra.extra.maxOpenFiles"));
        let told = (
            most_handles,
            number(&status, "catalogStats.collections"),
            number(&status, "wiredTiger.connection.files currently open"),
            number(&status, "connections.current"),
        );
        let (Some(most_handles), Some(collections), Some(files), Some(connections)) = told else {
            return Ok(None);
        };
        Ok(Some(FileUsage { collections, handles: files + connections, most_handles }))
    }

    /// What the database says of itself, if it does.
    async fn tells(&self, command: Document) -> Result<Option<Document>> {
        match self.client().database("admin").run_command(command).await.map_err(StoreError::from) {
            Ok(told) => Ok(Some(told)),
            Err(error) if error.is_unavailable() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }
}

fn at<'d>(document: &'d Document, path: &str) -> Option<&'d bson::Bson> {
    match path.split_once('.') {
        Some((first, rest)) => at(document.get_document(first).ok()?, rest),
        None => document.get(path),
    }
}

fn number(document: &Document, path: &str) -> Option<u64> {
    let found = at(document, path)?;
    let number = found.as_i64().or_else(|| found.as_i32().map(i64::from))?;
    u64::try_from(number).ok()
}
