//! A TCP connection for malformed or slow requests.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Client, in_time};

/// A TCP connection to the server.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub async fn connect(client: &Client) -> Self {
        Self {
            stream: TcpStream::connect(client.address()).await.expect("the connection was refused"),
        }
    }

    /// Connects and sends the bytes.
    pub async fn sending(client: &Client, bytes: &[u8]) -> Self {
        let mut this = Self::connect(client).await;
        this.send(bytes).await;
        this
    }

    /// Sends the bytes. Ignores errors, because the server may close before it has read all.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = in_time("a read", self.stream.write_all(bytes)).await;
    }

    /// Reads until the server closes or resets the connection.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = in_time("the end", self.stream.read_to_end(&mut bytes)).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let byte = in_time("an answer", self.stream.read_u8()).await;
            bytes.push(byte.expect("the answer ended early"));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same as [`Raw::rest`], while it sends `piece` ten times a second.
    pub async fn rest_while_trickling(self, piece: &'static [u8]) -> String {
        let (mut reader, mut writer) = self.stream.into_split();
        let trickle = tokio::spawn(async move {
            while writer.write_all(piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut bytes = Vec::new();
        let _ = in_time("the end", reader.read_to_end(&mut bytes)).await;
        trickle.abort();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
