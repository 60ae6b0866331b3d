//! A client that holds every answer to the contract of errors.

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

/// How often a client asks at most.
const TRIES: usize = 60;
/// The shortest time for which production waits before it gives a request up.
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
    /// The body as it came.
    pub raw: String,
}

/// An organization that has signed up, and its admin's token.
#[derive(Clone, Debug)]
pub struct Org {
    pub id: String,
    pub name: String,
    pub email: String,
    pub admin_id: String,
    pub token: String,
}

/// A word that no other test uses.
pub fn unique(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{word}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The server closes what is idle for five seconds; a request must not meet that, even if this
/// process does not run for a while.
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

    /// The same from another address of this machine, such as 127.0.0.2.
    pub fn from(&self, address: IpAddr) -> Self {
        let http = http().local_address(address).build().unwrap();
        Self { http, ..self.clone() }
    }

    /// The number that the server's metric of that name and labels shows.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.expect(200);
        let mut lines = metrics.body.as_str().unwrap().lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// The request before it is sent, for what the short forms below cannot say.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends; `None` if there is no server.
    pub async fn try_send(request: reqwest::RequestBuilder) -> Option<Reply> {
        Self::answer(request).await.ok()
    }

    /// Sends. A 503 for which the server has waited as long as it may is no fault of its own: the
    /// machine is busy, and a client asks again. One that comes sooner is an answer like any other.
    pub async fn send(request: reqwest::RequestBuilder) -> Reply {
        for _ in 1..TRIES {
            let Some(again) = request.try_clone() else { break };
            let asked = Instant::now();
            let reply = Self::answer(again).await.expect("no answer");
            if reply.retry_after().is_none() || asked.elapsed() < LIMIT {
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

    /// The token of a login that must succeed.
    pub async fn token(&self, email: &str, password: &str) -> String {
        let reply = self.log_in(email, password).await.expect(200);
        reply.text("access_token").to_owned()
    }

    /// An organization of that name with a fresh admin.
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

    /// A member of the organization whose admin this client is: its id and token.
    pub async fn add_member(&self, role: &str) -> (String, String) {
        let email = format!("{}@example.com", unique("member"));
        let body = json!({ "email": email, "password": PASSWORD, "role": role });
        let created = self.post("/org/members", body).await.expect(201);
        let token = self.token(&email, PASSWORD).await;
        (created.text("id").to_owned(), token)
    }
}

/// Asks again when the answer says so, as a client does.
pub async fn patiently(ask: impl AsyncFn() -> Reply) -> Reply {
    for _ in 1..TRIES {
        let reply = ask().await;
        let Some(wait) = reply.retry_after() else { return reply };
        tokio::time::sleep(wait).await;
    }
    ask().await
}

/// The same past HTTP.
pub async fn unbusy<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match ask().await {
            Err(Error::Busy { .. }) => {}
            other => return other,
        }
    }
    ask().await
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body, .. } = self;
        write!(f, "{status} {headers:?} {body}")
    }
}

impl Reply {
    /// After how long to ask again, where that may help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.status {
            503 => {
                let seconds = self.headers[header::RETRY_AFTER].to_str().unwrap();
                Some(Duration::from_secs(seconds.parse().unwrap()))
            }
            // This process was late with its request.
            408 => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Every answer carries a request id; every error is a problem with a code, or an error of
    /// GraphQL with one.
    fn check(&self, status: StatusCode) {
        assert!(self.headers.contains_key("x-request-id"), "no request id: {self:?}");
        if !status.is_client_error() && !status.is_server_error() {
            return;
        }
        if self.headers[header::CONTENT_TYPE] == "application/json" {
            let error = self.body.get(0).unwrap_or(&self.body)["errors"][0].clone();
            assert!(error["extensions"]["code"].is_string(), "no problem, no GraphQL: {self:?}");
        } else {
            self.check_problem(status);
        }
        assert_ne!(status.as_u16(), 500, "a client has made a fault: {self:?}");
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

    /// That status and that code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.body["code"], code, "{this:?}");
        this
    }

    /// A 400 that names exactly these fields.
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
