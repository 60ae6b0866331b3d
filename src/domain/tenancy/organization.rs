//! An organization, which is a tenant.

use chrono::{DateTime, Utc};

use strum::{AsRefStr, EnumString, IntoStaticStr};

use super::{Location, OrgName, Slug};
use crate::domain::OrgId;

/// The lifecycle status of an organization.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum OrgStatus {
    /// In normal use.
    Active,
    /// Its collection is being moved; it stays usable.
    Renaming,
    /// It is being deleted and can no longer be used.
    Deleting,
    /// A status of a later release, which knows what it means. Here it cannot be used.
    Unknown,
}

/// The record of an organization in the master database.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its immutable id.
    pub id: OrgId,
    /// Its display name.
    pub name: String,
    /// Its slug and, during a rename, also the new one.
    pub slugs: Vec<Slug>,
    /// Where its documents are.
    pub location: Location,
    /// Where its documents are being moved to.
    pub moving_to: Option<Location>,
    /// Whether its charts may show other editions of people than their first ones.
    pub has_editions: bool,
    /// Its lifecycle status.
    pub status: OrgStatus,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
    /// When its name, location or status last changed.
    pub updated_at: DateTime<Utc>,
    /// Increases by one with every change of this record.
    pub version: i64,
}

impl Organization {
    /// Whether its accounts may use it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.status, OrgStatus::Active | OrgStatus::Renaming)
    }

    /// Whether `slug` is this organization's slug, or will be after its rename.
    #[must_use]
    pub fn answers_to(&self, slug: &Slug) -> bool {
        self.slugs.contains(slug)
    }

    /// Whether the whole `name`, not only its slug, is this organization's name.
    #[must_use]
    pub fn is_named(&self, name: &OrgName) -> bool {
        name.reads_like(&self.name)
    }

    /// Every location where its documents may currently be, the most likely first.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        std::iter::once(&self.location).chain(&self.moving_to)
    }
}
