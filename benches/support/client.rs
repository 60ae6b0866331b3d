//! A cheap HTTP/1.1 client: one persistent connection, one request at a time.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Result;

pub(crate) struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The sender also returns its errors.
        tokio::spawn(async move { connection.await.is_ok() });
        Ok(Self { address, sender })
    }

    /// `count` connections to the same server.
    pub(crate) async fn open_many(address: SocketAddr, count: usize) -> Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address).await?);
        }
        Ok(connections)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok(Reply { status, body: response.into_body().collect().await?.to_bytes() })
    }

    /// Whether the request was answered with a 2xx. Reopens a broken connection.
    pub(crate) async fn succeeds(&mut self, request: Result<Request<Full<Bytes>>>) -> bool {
        let Ok(request) = request else { return false };
        if let Ok(reply) = self.send(request).await {
            return reply.status.is_success();
        }
        if let Ok(again) = Self::open(self.address).await {
            *self = again;
        }
        false
    }

    /// Sends the request and returns the JSON of the answer, which must be a 2xx.
    pub(crate) async fn json(&mut self, request: Request<Full<Bytes>>) -> Result<Value> {
        let request_line = format!("{} {}", request.method(), request.uri().path());
        let reply = self.send(request).await?;
        if !reply.status.is_success() {
            let body = String::from_utf8_lossy(&reply.body);
            return Err(format!("{request_line} was answered with {}: {body}", reply.status).into());
        }
        Ok(serde_json::from_slice(&reply.body)?)
    }
}

pub(crate) fn get(path: &str) -> Result<Request<Full<Bytes>>> {
    Ok(Request::get(path).header(header::HOST, "127.0.0.1").body(Full::default())?)
}

pub(crate) fn get_as(path: &str, token: &str) -> Result<Request<Full<Bytes>>> {
    let request = Request::get(path).header(header::HOST, "127.0.0.1");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    Ok(request.body(Full::default())?)
}

pub(crate) fn post(path: &str, body: &Value) -> Result<Request<Full<Bytes>>> {
    with_body(Method::POST, path, None, body)
}

pub(crate) fn post_as(path: &str, token: &str, body: &Value) -> Result<Request<Full<Bytes>>> {
    with_body(Method::POST, path, Some(token), body)
}

pub(crate) fn put(path: &str, token: &str, body: &Value) -> Result<Request<Full<Bytes>>> {
    with_body(Method::PUT, path, Some(token), body)
}

fn with_body(
    method: Method,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(request.body(Full::from(body.to_string()))?)
}
