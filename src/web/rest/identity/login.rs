//! Logging in.

use actix_web::{HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use validator::Validate;

use crate::{
    error::{FieldErrors, Result},
    manager::identity::{Login, LoginKind, Session},
    web::{
        http::{
            address::ClientAddress,
            input::{Input, Valid},
            problem::{BusyErrors, InputErrors, Problem, ThrottleErrors},
        },
        rest::State,
    },
};

/// The credentials of an account.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    /// The account's e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Its password.
    #[schema(example = "correct horse battery staple", format = Password)]
    password: String,
}

/// An admin's token.
#[derive(Serialize, ToSchema)]
struct AdminLoginResponse {
    #[serde(flatten)]
    token: TokenResponse,
    /// The admin's account.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f7")]
    admin_id: String,
}

/// An account's token.
#[derive(Serialize, ToSchema)]
struct LoginResponse {
    #[serde(flatten)]
    token: TokenResponse,
    /// The account.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f7")]
    account_id: String,
    /// The account's role.
    #[schema(example = "member")]
    role: &'static str,
}

/// A token and its organization.
#[derive(Serialize, ToSchema)]
struct TokenResponse {
    /// A JSON Web Token for the `Authorization: Bearer` header.
    #[schema(
        example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )]
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// The lifetime of the token in seconds.
    #[schema(example = 3600)]
    expires_in: u64,
    /// The account's organization.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f6")]
    organization_id: String,
    /// Its name.
    #[schema(example = "Acme, Inc.")]
    organization_name: String,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(admin_login).service(login);
}

/// Log in as an admin.
///
/// Every failure has the same answer and the same cost: an unknown address, a wrong password, or an
/// account that is not an admin.
#[utoipa::path(
    tag = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "A token", body = AdminLoginResponse),
        (status = 401, description = "The address or the password is wrong", body = Problem, content_type = "application/problem+json"),
        InputErrors, ThrottleErrors, BusyErrors,
    )
)]
#[post("/admin/login")]
async fn admin_login(
    state: State,
    address: ClientAddress,
    body: Valid<LoginRequest>,
) -> Result<HttpResponse> {
    let session = state.manager.log_in(body.0.with(address), LoginKind::Admin).await?;
    record(&session);
    let admin_id = session.account.id.to_string();
    Ok(HttpResponse::Ok().json(AdminLoginResponse { token: session.into(), admin_id }))
}

/// Log in with any account.
#[utoipa::path(
    tag = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "A token", body = LoginResponse),
        (status = 401, description = "The address or the password is wrong", body = Problem, content_type = "application/problem+json"),
        InputErrors, ThrottleErrors, BusyErrors,
    )
)]
#[post("/auth/login")]
async fn login(
    state: State,
    address: ClientAddress,
    body: Valid<LoginRequest>,
) -> Result<HttpResponse> {
    let session = state.manager.log_in(body.0.with(address), LoginKind::Any).await?;
    record(&session);
    let account_id = session.account.id.to_string();
    let role = session.account.role.into();
    Ok(HttpResponse::Ok().json(LoginResponse { token: session.into(), account_id, role }))
}

fn record(session: &Session) {
    let org = tracing::field::display(session.organization.id);
    tracing::Span::current().record("org.id", org);
}

impl Input for LoginRequest {
    type Meaning = Self;

    fn parse(self, _: &mut FieldErrors) -> Option<Self> {
        Some(self)
    }
}

impl LoginRequest {
    fn with(self, address: ClientAddress) -> Login {
        Login { email: self.email, password: self.password, address: address.0 }
    }
}

impl From<Session> for TokenResponse {
    fn from(session: Session) -> Self {
        Self {
            access_token: session.token,
            token_type: "Bearer",
            expires_in: session.lifetime.as_secs(),
            organization_id: session.organization.id.to_string(),
            organization_name: session.organization.name.clone(),
        }
    }
}
