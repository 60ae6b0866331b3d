//! Typed ids: a bare `ObjectId` never crosses a function boundary.

use std::{fmt, str::FromStr};

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};

use super::{Clock, SystemClock};

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
            /// A new id, unique across processes, that sorts by creation time. Its other bytes are
            /// random, so ids cannot be guessed.
            #[must_use]
            pub fn generate() -> Self {
                Self(object_id(SystemClock.now()))
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

            /// Plain digits without a sign: only the spelling that `Display` prints.
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

/// Four bytes of seconds, as in MongoDB's ids, two bytes of the fraction, and six random bytes.
/// MongoDB's own ids count up, so one id reveals the next.
fn object_id(now: DateTime<Utc>) -> ObjectId {
    let seconds = u32::try_from(now.timestamp()).unwrap_or(u32::MAX);
    let fraction = u64::from(now.timestamp_subsec_nanos()) * 0x1_0000 / 1_000_000_000;
    let fraction = u16::try_from(fraction).unwrap_or(u16::MAX);
    let mut bytes: [u8; 12] = rand::random();
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4..6].copy_from_slice(&fraction.to_be_bytes());
    ObjectId::from_bytes(bytes)
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
    /// An account that can log in.
    AccountId
);
object_id!(
    /// A durable, multi-step change that continues after a restart.
    TaskId
);
object_id!(
    /// A scheduled event, once or recurring.
    EventId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::hostile::{almost, any_text},
        *,
    };

    #[test]
    fn ids_of_the_same_time_share_only_the_time_bytes() {
        let now = DateTime::from_timestamp(1_800_000_000, 500_000_000).unwrap();
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| object_id(now)).collect();
        assert_eq!(ids.len(), 10_000);
        for (place, moment) in [0x6b, 0x49, 0xd2, 0x00, 0x80, 0x00].into_iter().enumerate() {
            assert!(ids.iter().all(|id| id.bytes()[place] == moment), "byte {place}");
        }
        for place in 6..12 {
            let seen: std::collections::HashSet<_> =
                ids.iter().map(|id| id.bytes()[place]).collect();
            assert!(seen.len() > 250, "byte {place} has {} values", seen.len());
        }
    }

    #[test]
    fn ids_sort_by_creation_time() {
        let at = |nanos| DateTime::from_timestamp(1_800_000_000, nanos).unwrap();
        let moments = [0, 20_000, 1_000_000, 500_000_000, 999_999_999];
        let ids: Vec<_> = moments.into_iter().map(|nanos| object_id(at(nanos))).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[4].timestamp().timestamp_millis(), 1_800_000_000_000);
    }

    proptest! {
        #[test]
        fn hostile_numbers_are_refused_or_have_one_spelling(
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
