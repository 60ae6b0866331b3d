//! `/org/create`, `/org/get`, `/org/update`, `/org/delete`.

use actix_web::{HttpResponse, delete, get, http::header, post, put};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use validator::{Validate, ValidationError};

use crate::{
    domain::{
        identity::{Email, Password},
        tenancy::OrgName,
    },
    error::{Error, FieldErrors, Result},
    manager::{
        AdminContext, OrgContext,
        tenancy::{OrgPatch, OrgView, SignUp},
    },
    shape::rule,
    web::{
        http::{
            address::ClientAddress,
            input::{Input, OptionalValid, Valid, ValidQuery},
            problem::{BusyErrors, InputErrors, Problem, QueryErrors, ThrottleErrors, TokenErrors},
        },
        rest::{State, identity::with_password},
    },
};

/// A new organization and its first admin.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    /// 1 to 64 characters with at least one letter or digit.
    #[schema(example = "Acme, Inc.", min_length = 1, max_length = 64)]
    organization_name: String,
    /// The admin's e-mail address, unique in the whole platform.
    #[schema(example = "ada@example.com", format = Email, max_length = 254)]
    email: String,
    /// 8 to 128 characters.
    #[schema(example = "correct horse battery staple", format = Password, min_length = 8, max_length = 128)]
    password: String,
}

/// Changes; at least one field. `email` and `password` are the acting admin's.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = changes_something))]
struct UpdateRequest {
    /// The organization's new name.
    #[schema(example = "Acme Worldwide", min_length = 1, max_length = 64)]
    organization_name: Option<String>,
    /// The admin's new e-mail address.
    #[schema(example = "ada@acme.example", format = Email, max_length = 254)]
    email: Option<String>,
    /// The admin's new password. It invalidates earlier tokens.
    #[schema(example = "an even longer passphrase", format = Password, min_length = 8, max_length = 128)]
    password: Option<String>,
    /// Only with a new password: whether to also revoke the address of the admin's calendar feed.
    #[serde(default)]
    #[schema(example = false)]
    revoke_calendar: bool,
}

/// Which organization.
#[derive(Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GetQuery {
    /// Its name; case, accents and punctuation do not matter.
    #[param(example = "Acme, Inc.")]
    organization_name: String,
}

/// Which organization.
#[derive(Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// Its name, here or in the body.
    #[param(example = "Acme, Inc.", nullable = false)]
    organization_name: Option<String>,
}

/// Which organization.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct DeleteRequest {
    /// Its name.
    #[schema(example = "Acme, Inc.")]
    organization_name: String,
}

/// An organization.
#[derive(Serialize, ToSchema)]
struct OrganizationResponse {
    /// Its id, which never changes.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f6")]
    id: String,
    /// Its name.
    #[schema(example = "Acme, Inc.")]
    organization_name: String,
    /// The MongoDB collection that holds its documents.
    #[schema(example = "org_acme_inc")]
    collection_name: String,
    /// `active` or `renaming`.
    #[schema(example = "active")]
    status: &'static str,
    /// The acting admin; only for admins of this organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    admin: Option<AdminResponse>,
    /// Where its documents are stored; only for admins of this organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    location: Option<LocationResponse>,
    /// When it signed up.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    created_at: DateTime<Utc>,
    /// When its name, location or status last changed.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    updated_at: DateTime<Utc>,
}

/// An admin.
#[derive(Serialize, ToSchema)]
struct AdminResponse {
    /// The account.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f7")]
    id: String,
    /// Its e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
}

/// Where a tenant's documents are stored.
#[derive(Serialize, ToSchema)]
struct LocationResponse {
    /// The cluster's name.
    #[schema(example = "default")]
    cluster: String,
    /// The name of the database.
    #[schema(example = "tenantry_tenants")]
    database: String,
    /// The name of the collection.
    #[schema(example = "org_acme_inc")]
    collection: String,
}

/// A deleted organization.
#[derive(Serialize, ToSchema)]
struct DeletedResponse {
    /// Its id.
    #[schema(example = "68a1f0c2e4b0a1b2c3d4e5f6")]
    id: String,
    /// Its name.
    #[schema(example = "Acme, Inc.")]
    organization_name: String,
    /// When it was deleted.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    deleted_at: DateTime<Utc>,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(create).service(get).service(update).service(delete);
}

/// Sign up an organization.
///
/// Creates the organization, its first admin and its collection, all or nothing.
#[utoipa::path(
    tag = "organizations",
    request_body = CreateRequest,
    responses(
        (status = 201, description = "Created", body = OrganizationResponse,
            headers(("Location" = String, description = "The path of the new resource"))),
        (status = 409, description = "The name (`org_name_taken`) or the address (`email_taken`) is taken", body = Problem, content_type = "application/problem+json"),
        InputErrors, ThrottleErrors, BusyErrors,
    )
)]
#[post("/org/create")]
async fn create(
    state: State,
    address: ClientAddress,
    body: Valid<CreateRequest>,
) -> Result<HttpResponse> {
    let (name, email, password) = body.0;
    let sign_up = SignUp { name, email, password, address: address.0 };
    let view = state.manager.organization_create(sign_up).await?;
    tracing::Span::current().record("org.id", tracing::field::display(view.organization.id));
    // A slug has only ASCII letters, digits and underscores, so it needs no escaping.
    let slug = view.organization.slugs.first().map_or("", |slug| slug.as_str());
    let location = format!("/org/get?organization_name={slug}");
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(OrganizationResponse::of_change(view)))
}

/// Look up an organization by its name.
///
/// Its own admins also see their account and where its documents are stored.
#[utoipa::path(
    tag = "organizations",
    params(GetQuery),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The organization", body = OrganizationResponse),
        (status = 401, description = "A token was sent that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such organization", body = Problem, content_type = "application/problem+json"),
        QueryErrors, BusyErrors,
    )
)]
#[get("/org/get")]
async fn get(
    state: State,
    ctx: Option<OrgContext>,
    query: ValidQuery<GetQuery>,
) -> Result<HttpResponse> {
    let view = state.manager.organization_get(ctx.as_ref(), &query.0).await?;
    Ok(HttpResponse::Ok().json(OrganizationResponse::of(view)))
}

/// Rename the organization, or change the acting admin's e-mail address or password.
///
/// All or nothing. A new name also renames the organization's collection: nothing is lost, reads
/// and writes continue, and the time does not depend on the organization's size.
#[utoipa::path(
    tag = "organizations",
    request_body = UpdateRequest,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The changed organization", body = OrganizationResponse),
        (status = 409, description = "The name (`org_name_taken`) or the address (`email_taken`) is taken", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[put("/org/update")]
async fn update(
    ctx: AdminContext,
    state: State,
    body: Valid<UpdateRequest>,
) -> Result<HttpResponse> {
    let view = state.manager.organization_update(&ctx, body.0).await?;
    Ok(HttpResponse::Ok().json(OrganizationResponse::of_change(view)))
}

/// Delete the caller's organization and everything in it.
///
/// As a safeguard, the query or the body must contain its name. Any other name gets a 403, whether
/// it exists or not.
#[utoipa::path(
    tag = "organizations",
    params(DeleteQuery),
    request_body(content = Option<DeleteRequest>),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Deleted", body = DeletedResponse),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[delete("/org/delete")]
async fn delete(
    ctx: AdminContext,
    state: State,
    query: ValidQuery<DeleteQuery>,
    body: OptionalValid<DeleteRequest>,
) -> Result<HttpResponse> {
    let name = named_in(query.0, body.0)?;
    let (organization, deleted_at) = state.manager.organization_delete(&ctx, &name).await?;
    Ok(HttpResponse::Ok().json(DeletedResponse {
        id: organization.id.to_string(),
        organization_name: organization.name.clone(),
        deleted_at,
    }))
}

fn named_in(query: Option<OrgName>, body: Option<OrgName>) -> Result<OrgName> {
    let wrong = |sentence| Error::field("organization_name", sentence);
    match (query, body) {
        (Some(query), Some(body)) if query != body => {
            Err(wrong("must be the same in the query and the body"))
        }
        (query, body) => query.or(body).ok_or_else(|| wrong("is required")),
    }
}

fn changes_something(patch: &UpdateRequest) -> Result<(), ValidationError> {
    let UpdateRequest { organization_name, email, password, .. } = patch;
    let given = organization_name.is_some() || email.is_some() || password.is_some();
    rule(given, "needs organization_name, email or password")
}

impl Input for CreateRequest {
    type Meaning = (OrgName, Email, Password);

    fn parse(self, errors: &mut FieldErrors) -> Option<Self::Meaning> {
        let name = errors.check("organization_name", OrgName::parse(&self.organization_name));
        let email = errors.check("email", Email::parse(&self.email));
        let password = errors.check("password", Password::parse(self.password));
        Some((name?, email?, password?))
    }
}

impl Input for UpdateRequest {
    type Meaning = OrgPatch;

    fn parse(self, errors: &mut FieldErrors) -> Option<OrgPatch> {
        let revoke_calendar = self.revoke_calendar;
        errors.check("revoke_calendar", with_password(revoke_calendar, self.password.is_some()));
        let name = self
            .organization_name
            .and_then(|raw| errors.check("organization_name", OrgName::parse(&raw)));
        let email = self.email.and_then(|raw| errors.check("email", Email::parse(&raw)));
        let password = self.password.and_then(|raw| errors.check("password", Password::parse(raw)));
        Some(OrgPatch { name, email, password, revoke_calendar })
    }
}

impl Input for GetQuery {
    type Meaning = OrgName;

    fn parse(self, errors: &mut FieldErrors) -> Option<OrgName> {
        errors.check("organization_name", OrgName::parse_sought(&self.organization_name))
    }
}

impl Input for DeleteQuery {
    type Meaning = Option<OrgName>;

    fn parse(self, errors: &mut FieldErrors) -> Option<Option<OrgName>> {
        let name = self.organization_name.map(|raw| OrgName::parse_sought(&raw)).transpose();
        errors.check("organization_name", name)
    }
}

impl Input for DeleteRequest {
    type Meaning = OrgName;

    fn parse(self, errors: &mut FieldErrors) -> Option<OrgName> {
        errors.check("organization_name", OrgName::parse_sought(&self.organization_name))
    }
}

impl OrganizationResponse {
    fn of(view: OrgView) -> Self {
        let place = &view.organization.location;
        let location = view.admin.is_some().then(|| LocationResponse {
            cluster: place.cluster.clone(),
            database: place.database.clone(),
            collection: place.collection.clone(),
        });
        Self { location, ..Self::of_change(view) }
    }

    /// The answer to a change, which does not contain the location.
    fn of_change(view: OrgView) -> Self {
        let organization = view.organization;
        Self {
            id: organization.id.to_string(),
            organization_name: organization.name.clone(),
            collection_name: organization.location.collection.clone(),
            status: organization.status.into(),
            admin: view.admin.map(|(id, email)| AdminResponse {
                id: id.to_string(),
                email: email.as_str().to_owned(),
            }),
            location: None,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
        }
    }
}
