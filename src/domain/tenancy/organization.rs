//! An organization, which is a tenant seen from outside.

use chrono::{DateTime, Utc};

use strum::{AsRefStr, EnumString, IntoStaticStr};

use super::{Location, OrgName, Slug};
use crate::domain::OrgId;

/// Where an organization stands in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum OrgStatus {
    /// Nothing is under way.
    Active,
    /// Its collection is being moved; it works all the while.
    Renaming,
    /// It is going; nobody may use it any more.
    Deleting,
}

/// What the master database knows of an organization.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its immutable identity.
    pub id: OrgId,
    /// Its name as people read it.
    pub name: String,
    /// The slug that it holds and, while it is renamed, the one that it is taking.
    pub slugs: Vec<Slug>,
    /// Where its documents are.
    pub location: Location,
    /// Where its documents are being moved to.
    pub moving_to: Option<Location>,
    /// Where it stands.
    pub status: OrgStatus,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
    /// When its name, location or status last changed.
    pub updated_at: DateTime<Utc>,
    /// Goes up by one with every change of this record.
    pub version: i64,
}

impl Organization {
    /// Whether `slug` names this organization, now or from the end of its rename on.
    #[must_use]
    pub fn answers_to(&self, slug: &Slug) -> bool {
        self.slugs.contains(slug)
    }

    /// Whether all of `name`, and not only what its slug keeps of it, is this organization's name.
    #[must_use]
    pub fn is_named(&self, name: &OrgName) -> bool {
        name.reads_like(&self.name)
    }

    /// Every place at which its documents may be at this moment, the likeliest first.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        std::iter::once(&self.location).chain(&self.moving_to)
    }
}
