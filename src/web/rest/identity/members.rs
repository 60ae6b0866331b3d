//! `/org/members`: the accounts of the caller's organization.

use actix_web::{HttpResponse, delete, get, http::header, patch, post, web::Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_with::rust::double_option;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use validator::{Validate, ValidationError};

use crate::{
    domain::{
        AccountId, Invalid, Label,
        identity::{Account, Email, Password, Role},
    },
    error::{Error, FieldErrors, Result},
    manager::{
        AdminContext,
        identity::{MemberInput, MemberPatch},
    },
    shape::rule,
    web::{
        http::{
            input::{Input, Valid, ValidQuery},
            problem::{BusyErrors, InputErrors, Problem, QueryErrors, TokenErrors},
        },
        rest::{
            State,
            paging::{PageOf, PageQuery},
        },
    },
};

/// A new account.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct MemberRequest {
    /// Its e-mail address, unique in the whole platform.
    #[schema(example = "grace@example.com", format = Email, max_length = 254)]
    email: String,
    /// 8 to 128 characters.
    #[schema(example = "correct horse battery staple", format = Password, min_length = 8, max_length = 128)]
    password: String,
    /// The person's name.
    #[schema(example = "Grace Hopper", min_length = 1, max_length = 128)]
    name: Option<String>,
    /// `member` (the default) or `admin`.
    #[schema(example = "member", pattern = "^(member|admin)$")]
    role: Option<String>,
}

/// Changes; at least one field. Absent fields stay unchanged.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = changes_something))]
struct MemberPatchRequest {
    /// A new e-mail address.
    #[schema(example = "grace@acme.example", format = Email, max_length = 254)]
    email: Option<String>,
    /// A new password. It invalidates the account's tokens.
    #[schema(example = "an even longer passphrase", format = Password, min_length = 8, max_length = 128)]
    password: Option<String>,
    /// A new name; `null` removes it.
    #[serde(default, with = "double_option")]
    #[schema(value_type = Option<String>, example = "Grace B. M. Hopper", min_length = 1, max_length = 128)]
    #[expect(clippy::option_option, reason = "absent, null, or a value")]
    name: Option<Option<String>>,
    /// A new role.
    #[schema(example = "admin", pattern = "^(member|admin)$")]
    role: Option<String>,
    /// Only with a new password: whether to also revoke the address of the account's calendar feed.
    #[serde(default)]
    #[schema(example = false)]
    revoke_calendar: bool,
}

/// An account of the organization.
#[derive(Serialize, ToSchema)]
struct MemberResponse {
    /// Its id.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f7")]
    id: String,
    /// Its e-mail address.
    #[schema(example = "grace@example.com")]
    email: String,
    /// The person's name, or `null`.
    #[schema(example = "Grace Hopper", required = true)]
    name: Option<String>,
    /// `member` or `admin`.
    #[schema(example = "member")]
    role: &'static str,
    /// When it was created.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    created_at: DateTime<Utc>,
    /// When it last changed.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    updated_at: DateTime<Utc>,
}

/// A deleted account.
#[derive(Serialize, ToSchema)]
struct MemberDeletedResponse {
    /// Its id.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f7")]
    id: String,
    /// When it was deleted.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    deleted_at: DateTime<Utc>,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(create)
        .service(list)
        .service(get)
        .service(update)
        .service(calendar_revoke)
        .service(delete);
}

/// Add an account.
#[utoipa::path(
    tag = "members",
    request_body = MemberRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, description = "Created", body = MemberResponse,
            headers(("Location" = String, description = "The path of the new resource"))),
        (status = 409, description = "The address is taken (`email_taken`)", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[post("/org/members")]
async fn create(
    ctx: AdminContext,
    state: State,
    body: Valid<MemberRequest>,
) -> Result<HttpResponse> {
    let account = state.manager.member_create(&ctx, body.0).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/org/members/{}", account.id)))
        .json(MemberResponse::from(account)))
}

/// List the accounts, oldest first.
#[utoipa::path(
    tag = "members",
    params(PageQuery),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of accounts", body = [MemberResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/org/members")]
async fn list(
    ctx: AdminContext,
    state: State,
    query: ValidQuery<PageOf<AccountId>>,
) -> Result<HttpResponse> {
    let page = query.0;
    let accounts = state.manager.member_list(&ctx, page.after, page.probe_limit()).await?;
    let items: Vec<(AccountId, MemberResponse)> =
        accounts.into_iter().map(|account| (account.id, account.into())).collect();
    Ok(page.answer("/org/members", &items))
}

/// Get one account.
#[utoipa::path(
    tag = "members",
    params(("id" = String, Path, description = "The account", example = "68a1f0c2e4b0a1b2c3d4e5f7")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The account", body = MemberResponse),
        (status = 404, description = "No such account in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/org/members/{id}")]
async fn get(ctx: AdminContext, state: State, id: Path<String>) -> Result<HttpResponse> {
    let account = state.manager.member_get(&ctx, parse_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(MemberResponse::from(account)))
}

/// Change an account.
///
/// The last admin cannot be demoted.
#[utoipa::path(
    tag = "members",
    params(("id" = String, Path, description = "The account", example = "68a1f0c2e4b0a1b2c3d4e5f7")),
    request_body = MemberPatchRequest,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The changed account", body = MemberResponse),
        (status = 404, description = "No such account in this organization", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The address is taken (`email_taken`), or it is the last admin (`last_admin`)", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[patch("/org/members/{id}")]
async fn update(
    ctx: AdminContext,
    state: State,
    id: Path<String>,
    body: Valid<MemberPatchRequest>,
) -> Result<HttpResponse> {
    let account = state.manager.member_update(&ctx, parse_id(&id)?, body.0).await?;
    Ok(HttpResponse::Ok().json(MemberResponse::from(account)))
}

/// Remove an account.
///
/// The last admin cannot be removed.
#[utoipa::path(
    tag = "members",
    params(("id" = String, Path, description = "The account", example = "68a1f0c2e4b0a1b2c3d4e5f7")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Deleted", body = MemberDeletedResponse),
        (status = 404, description = "No such account in this organization", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the last admin (`last_admin`)", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[delete("/org/members/{id}")]
async fn delete(ctx: AdminContext, state: State, id: Path<String>) -> Result<HttpResponse> {
    let deleted_at = state.manager.member_delete(&ctx, parse_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(MemberDeletedResponse { id: id.into_inner(), deleted_at }))
}

/// Revoke the address of an account's calendar feed
///
/// Calendar programs can no longer read the feed. The account can create a new address. Without an
/// address, nothing changes.
#[utoipa::path(
    tag = "members",
    params(("id" = String, Path, description = "The account", example = "68a1f0c2e4b0a1b2c3d4e5f7")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "The address is revoked"),
        (status = 404, description = "No such account in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[delete("/org/members/{id}/calendar")]
async fn calendar_revoke(
    ctx: AdminContext,
    state: State,
    id: Path<String>,
) -> Result<HttpResponse> {
    state.manager.member_calendar_revoke(&ctx, parse_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Treats a malformed id like an unknown one.
fn parse_id(raw: &str) -> Result<AccountId> {
    raw.parse().map_err(|_| Error::NotFound("member"))
}

fn parse_role(raw: &str) -> Result<Role, Invalid> {
    raw.parse().map_err(|_| Invalid("must be member or admin"))
}

/// `revoke_calendar` needs a new password. Another endpoint revokes a calendar alone.
pub(in crate::web::rest) fn with_password(revoke: bool, password: bool) -> Result<(), Invalid> {
    if revoke && !password { Err(Invalid("needs a new password")) } else { Ok(()) }
}

fn changes_something(patch: &MemberPatchRequest) -> Result<(), ValidationError> {
    let MemberPatchRequest { email, password, name, role, .. } = patch;
    let given = email.is_some() || password.is_some() || name.is_some() || role.is_some();
    rule(given, "needs email, password, name or role")
}

impl Input for MemberRequest {
    type Meaning = MemberInput;

    fn parse(self, errors: &mut FieldErrors) -> Option<MemberInput> {
        let email = errors.check("email", Email::parse(&self.email));
        let password = errors.check("password", Password::parse(self.password));
        let name = self.name.and_then(|raw| errors.check("name", Label::parse(&raw)));
        let role = self.role.and_then(|raw| errors.check("role", parse_role(&raw)));
        let role = role.unwrap_or(Role::Member);
        Some(MemberInput { email: email?, password: password?, name, role })
    }
}

impl Input for MemberPatchRequest {
    type Meaning = MemberPatch;

    fn parse(self, errors: &mut FieldErrors) -> Option<MemberPatch> {
        let revoke_calendar = self.revoke_calendar;
        errors.check("revoke_calendar", with_password(revoke_calendar, self.password.is_some()));
        let email = self.email.and_then(|raw| errors.check("email", Email::parse(&raw)));
        let password = self.password.and_then(|raw| errors.check("password", Password::parse(raw)));
        let name =
            self.name.map(|given| given.and_then(|raw| errors.check("name", Label::parse(&raw))));
        let role = self.role.and_then(|raw| errors.check("role", parse_role(&raw)));
        Some(MemberPatch { email, password, name, role, revoke_calendar })
    }
}

impl From<Account> for MemberResponse {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            email: account.email.as_str().to_owned(),
            name: account.name.map(String::from),
            role: account.role.into(),
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}
