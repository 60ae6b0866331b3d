//! An HTTP client that checks each answer against the error contract.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tenantry::error::Error;

use super::PASSWORD;

/// Maximum number of attempts.
const TRIES: usize = 60;
/// The shortest time after which production gives up on a request with 503.
const LIMIT: Duration = Duration::from_secs(5);

/// Calls one server, with or without a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: header::HeaderMap,
    pub body: Value,
    /// The unparsed body.
    pub raw: String,
}

/// A signed-up organization and its admin's token.
#[derive(Clone, Debug)]
pub struct Org {
    pub id: String,
    pub name: String,
    pub email: String,
    pub admin_id: String,
    pub token: String,
}

/// A word with a number that no other test uses.
pub fn unique(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{word}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The server closes connections after five idle seconds. The client drops them much earlier, so
/// that no request hits a closing connection, even if this process pauses.
fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(1))
}

impl Client {
    pub fn new(base: String) -> Self {
        Self { http: http().build().unwrap(), base, token: None }
    }

    pub fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same client from another local address, such as 127.0.0.2.
    pub fn from(&self, address: IpAddr) -> Self {
        let http = http().local_address(address).build().unwrap();
        Self { http, ..self.clone() }
    }

    /// The value of a metric, given its name with labels; 0 if it has no sample.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.expect(200);
        let mut lines = metrics.body.as_str().unwrap().lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    /// The number of MongoDB commands of this name that the server has sent.
    pub async fn commands(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.expect(200);
        let (metric, label) =
            ("tenantry_mongo_command_seconds_count{", format!("command=\"{name}\""));
        let lines = metrics.body.as_str().unwrap().lines();
        let counts = lines.filter(|line| line.starts_with(metric) && line.contains(&label));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// A request builder, for requests that the methods below do not cover.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends the request; `None` if the connection fails.
    pub async fn try_send(request: reqwest::RequestBuilder) -> Option<Reply> {
        Self::answer(request).await.ok()
    }

    /// Sends the request. Repeats it after a 503 that took as long as the server's time limit,
    /// because then the machine was just too slow. An earlier 503 is returned.
    pub async fn send(request: reqwest::RequestBuilder) -> Reply {
        for _ in 1..TRIES {
            let Some(again) = request.try_clone() else { break };
            let sent = Instant::now();
            let reply = Self::answer(again).await.expect("no answer");
            if reply.retry_after().is_none() || sent.elapsed() < LIMIT {
                return reply;
            }
        }
        Self::answer(request).await.expect("no answer")
    }

    async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let raw = response.text().await?;
        let body = serde_json::from_str(&raw).unwrap_or_else(|_| Value::String(raw.clone()));
        let reply = Reply { status: status.as_u16(), headers, body, raw };
        reply.check(status);
        Ok(reply)
    }

    pub async fn get(&self, path: &str) -> Reply {
        Self::send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        Self::send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        Self::send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        Self::send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        Self::send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn get_org(&self, name: &str) -> Reply {
        Self::send(self.request(Method::GET, "/org/get").query(&[("organization_name", name)]))
            .await
    }

    pub async fn create(&self, name: &str, email: &str) -> Reply {
        let body = json!({ "organization_name": name, "email": email, "password": PASSWORD });
        self.post("/org/create", body).await
    }

    pub async fn rename(&self, name: &str) -> Reply {
        self.put("/org/update", json!({ "organization_name": name })).await
    }

    pub async fn delete_org(&self, name: &str) -> Reply {
        let request = self.request(Method::DELETE, "/org/delete");
        Self::send(request.query(&[("organization_name", name)])).await
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Reply {
        self.post("/auth/login", json!({ "email": email, "password": password })).await
    }

    /// Logs in and returns the token.
    pub async fn token(&self, email: &str, password: &str) -> String {
        let reply = self.log_in(email, password).await.expect(200);
        reply.text("access_token").to_owned()
    }

    /// Signs up an organization with a new admin.
    pub async fn sign_up(&self, name: &str) -> Org {
        let email = format!("{}@example.com", unique("admin"));
        let created = self.create(name, &email).await.expect(201);
        let token = self.token(&email, PASSWORD).await;
        Org {
            id: created.text("id").to_owned(),
            name: name.to_owned(),
            admin_id: created.body["admin"]["id"].as_str().unwrap().to_owned(),
            email,
            token,
        }
    }

    /// Signs up an organization; returns its admin's client.
    pub async fn sign_up_admin(&self, name: &str) -> Self {
        self.with(&self.sign_up(name).await.token)
    }

    /// Adds an account to the admin's organization; returns its id and token.
    pub async fn add_member(&self, role: &str) -> (String, String) {
        let email = format!("{}@example.com", unique("member"));
        let body = json!({ "email": email, "password": PASSWORD, "role": role });
        let created = self.post("/org/members", body).await.expect(201);
        let token = self.token(&email, PASSWORD).await;
        (created.text("id").to_owned(), token)
    }
}

/// Repeats the request as long as the answer says to retry, as clients should.
pub async fn patiently(send: impl AsyncFn() -> Reply) -> Reply {
    for _ in 1..TRIES {
        let reply = send().await;
        let Some(wait) = reply.retry_after() else { return reply };
        tokio::time::sleep(wait).await;
    }
    send().await
}

/// The same for calls to the manager.
pub async fn unbusy<T>(call: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match call().await {
            Err(Error::Busy { .. }) => {}
            other => return other,
        }
    }
    call().await
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body, .. } = self;
        write!(f, "{status} {headers:?} {body}")
    }
}

impl Reply {
    /// How long to wait before a retry, if the answer says to retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.status {
            503 => {
                let seconds = self.headers[header::RETRY_AFTER].to_str().unwrap();
                Some(Duration::from_secs(seconds.parse().unwrap()))
            }
            // This process was too slow to send its request.
            408 => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Asserts that the answer has a request id, and that an error is a problem or a GraphQL error
    /// with a code.
    fn check(&self, status: StatusCode) {
        assert!(self.headers.contains_key("x-request-id"), "no request id: {self:?}");
        if !status.is_client_error() && !status.is_server_error() {
            return;
        }
        if self.headers[header::CONTENT_TYPE] == "application/json" {
            let error = self.body.get(0).unwrap_or(&self.body)["errors"][0].clone();
            assert!(
                error["extensions"]["code"].is_string(),
                "neither a problem nor a GraphQL error: {self:?}"
            );
        } else {
            self.check_problem(status);
        }
        assert_ne!(status.as_u16(), 500, "internal error: {self:?}");
        if status.as_u16() == 401 {
            assert!(self.headers.contains_key(header::WWW_AUTHENTICATE), "{self:?}");
        }
        if status.as_u16() == 503 || status.as_u16() == 429 {
            assert!(self.headers.contains_key(header::RETRY_AFTER), "{self:?}");
        }
    }

    fn check_problem(&self, status: StatusCode) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], status.as_u16(), "{self:?}");
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        for field in ["type", "title", "detail", "code"] {
            assert!(self.body[field].is_string(), "{field} is missing: {self:?}");
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts the status and the error code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.body["code"], code, "{this:?}");
        this
    }

    /// Asserts a 400 that names exactly these fields.
    #[track_caller]
    pub fn invalid(self, fields: &[&str]) -> Self {
        let this = self.refused(400, "validation");
        let errors = this.body["errors"].as_array().unwrap();
        let named: Vec<&str> = errors.iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{this:?}");
        this
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field}: {self:?}"))
    }
}
