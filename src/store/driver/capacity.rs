//! How many file handles the database uses. Each collection and each index is a file, and a `mongod`
//! that runs out of file handles does not refuse a command: it aborts.

use bson::{Document, doc};

use super::StoreError;
use crate::{error::Result, store::Store};

/// The file handles of a `mongod`.
#[derive(Clone, Copy, Debug)]
pub struct FileUsage {
    /// The number of collections and indexes, each of which is a file.
    pub files: u64,
    /// File handles in use, for files and connections.
    pub handles: u64,
    /// The maximum number of handles of its process.
    pub most_handles: u64,
}

impl Store {
    /// The file handles of the primary; `None` if it does not report them, for example because
    /// Tenantry's database user lacks the permission.
    ///
    /// # Errors
    /// [`Error::Database`](crate::error::Error::Database) if the database is unreachable.
    pub async fn file_usage(&self) -> Result<Option<FileUsage>> {
        let host = self.diagnose(doc! { "hostInfo": 1 }).await?;
        let status = self.diagnose(doc! { "serverStatus": 1, "metrics": 0, "locks": 0 }).await?;
        let (Some(host), Some(status)) = (host, status) else { return Ok(None) };
        // The manual documents it in `extra`; MongoDB 6.0 puts it one level deeper.
        let most_handles = number(&host, "extra.maxOpenFiles")
            .or_else(|| number(&host, "extra.extra.maxOpenFiles"));
        let figures = (
            most_handles,
            number(&status, "catalogStats.collections"),
            number(&status, "catalogStats.internalCollections"),
            number(&status, "indexStats.count"),
            number(&status, "wiredTiger.connection.files currently open"),
            number(&status, "connections.current"),
        );
        let (
            Some(most_handles),
            Some(collections),
            Some(internal),
            Some(indexes),
            Some(open),
            Some(connections),
        ) = figures
        else {
            return Ok(None);
        };
        let files = collections + internal + indexes;
        Ok(Some(FileUsage { files, handles: open + connections, most_handles }))
    }

    /// The reply to a diagnostic command; `None` if the database refuses it.
    async fn diagnose(&self, command: Document) -> Result<Option<Document>> {
        let admin = self.client().database("admin");
        match self.answer("diagnosis", admin.run_command(command)).await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if StoreError::of(&error).is_some_and(StoreError::is_unavailable) => {
                Err(error)
            }
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
