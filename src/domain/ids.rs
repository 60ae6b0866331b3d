//! Typed ids: a bare `ObjectId` never crosses a function boundary.

use std::{fmt, str::FromStr};

use bson::oid::ObjectId;

/// The text is not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not an id")]
pub struct IdError;

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(ObjectId);

        impl $name {
            /// A new id, unique across processes, that sorts by its second of creation.
            #[must_use]
            pub fn generate() -> Self {
                Self(ObjectId::new())
            }

            /// The id as the database stores it.
            #[must_use]
            pub const fn object_id(self) -> ObjectId {
                self.0
            }
        }

        impl From<ObjectId> for $name {
            fn from(id: ObjectId) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(raw: &str) -> Result<Self, IdError> {
                ObjectId::parse_str(raw).map(Self).map_err(|_| IdError)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! counted_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(i64);

        impl $name {
            /// The id as a number.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Plain digits, no sign: the one spelling that this id is printed in.
            fn from_str(raw: &str) -> Result<Self, IdError> {
                let id: i64 = raw.parse().map_err(|_| IdError)?;
                if id < 1 || raw.starts_with(['+', '0']) { Err(IdError) } else { Ok(Self(id)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counted_id!(
    /// An org chart of one tenant.
    ChartId
);
counted_id!(
    /// A person in one org chart.
    EmployeeId
);
object_id!(
    /// The immutable identity of an organization; its name may change.
    OrgId
);
object_id!(
    /// Somebody who can log in.
    AccountId
);
object_id!(
    /// A durable, multi-step change that a restart picks up again.
    OperationId
);
object_id!(
    /// Something scheduled; a recurring one happens many times.
    EventId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::hostile::{almost, any_text},
        *,
    };

    proptest! {
        #[test]
        fn hostile_numbers_have_one_spelling_or_are_no_ids(
            raw in prop_oneof![any_text(), almost("[1-9][0-9]{0,19}")],
        ) {
            if let Ok(id) = raw.parse::<EmployeeId>() {
                prop_assert!(id.get() > 0);
                prop_assert_eq!(id.to_string(), raw);
            }
        }

        #[test]
        fn hostile_ids_are_refused_or_stay_the_same(
            raw in prop_oneof![any_text(), almost("[0-9a-f]{24}")],
        ) {
            if let Ok(id) = raw.parse::<AccountId>() {
                prop_assert_eq!(id.to_string(), raw.to_ascii_lowercase());
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }
}
