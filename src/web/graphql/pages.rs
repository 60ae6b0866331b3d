//! Relay connections with stable pages: a cursor holds the key after which a page starts, so items
//! added or removed elsewhere in the list do not shift it.

use std::{fmt::Display, str::FromStr};

use async_graphql::{
    OutputType,
    connection::{Connection, Edge, EmptyFields},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use validator::Validate;

use super::failure::{Answer, fail};
use crate::{domain::Invalid, error::FieldErrors};

pub(super) const DEFAULT_PAGE: i32 = 50;

/// The arguments of a page that are limited to a range.
#[derive(Validate)]
struct Arguments {
    #[validate(range(min = 1, max = 500))]
    first: i32,
}

/// A page of a list.
pub(super) struct Page<C> {
    /// The maximum number of items.
    limit: usize,
    /// The key of the previous page's last item.
    pub(super) after: Option<C>,
}

impl<C: FromStr + Display> Page<C> {
    /// The page for the arguments `first` and `after`.
    pub(super) fn parse(first: Option<i32>, after: Option<String>) -> Answer<Self> {
        let mut errors = FieldErrors::default();
        let page = Self::check(first, after, &mut errors);
        errors.into_result(page).map_err(fail)
    }

    /// Like [`Page::parse`], for arguments that are checked together with others.
    pub(super) fn check(
        first: Option<i32>,
        after: Option<String>,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        let first = first.unwrap_or(DEFAULT_PAGE);
        errors.check_shape("", &Arguments { first });
        let after = after.map(|cursor| decode(&cursor)).transpose();
        let after = after.map_err(|()| Invalid("is not a cursor of this list"));
        let (first, after) = (errors.check("first", Ok(first)), errors.check("after", after));
        Some(Self { limit: usize::try_from(first?).unwrap_or_default(), after: after? })
    }

    /// The number of items to read: one more than the page holds shows whether another page
    /// follows.
    pub(super) fn probe_limit(&self) -> u32 {
        u32::try_from(self.limit + 1).unwrap_or(u32::MAX)
    }

    /// The connection for items with their keys.
    pub(super) fn connection<N: OutputType>(
        &self,
        mut items: Vec<(C, N)>,
    ) -> Connection<String, N> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let mut connection = Connection::new(self.after.is_some(), more);
        connection.edges = items
            .into_iter()
            .map(|(key, node)| Edge::<_, _, EmptyFields>::new(encode(&key), node))
            .collect();
        connection
    }
}

fn encode(key: &impl Display) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

fn decode<C: FromStr>(cursor: &str) -> Result<C, ()> {
    let text = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ())?;
    std::str::from_utf8(&text).map_err(|_| ())?.parse().map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        EventId,
        hostile::{almost, any_text},
        scheduling::OccurrenceId,
    };

    /// Cursors of occurrences.
    fn cursors() -> impl Strategy<Value = String> {
        let id = "[0-9a-f]{24}@20[0-9]{2}-0[1-9]-[12][0-8]T[01][0-9]:00:00Z";
        id.prop_map(|id| encode(&id))
    }

    proptest! {
        #[test]
        fn hostile_cursors_are_refused_or_have_one_spelling(
            raw in prop_oneof![any_text(), almost(cursors()), any_text().prop_map(|t| encode(&t))],
        ) {
            if let Ok(id) = decode::<OccurrenceId>(&raw) {
                prop_assert_eq!(encode(&id), raw.as_str());
            }
            if let Ok(id) = decode::<EventId>(&raw) {
                prop_assert_eq!(decode::<EventId>(&encode(&id)), Ok(id));
            }
        }

        #[test]
        fn a_cursor_leads_back_to_its_item(cursor in cursors()) {
            let id = decode::<OccurrenceId>(&cursor);
            prop_assert_eq!(id.map(|id| encode(&id)), Ok(cursor));
        }
    }
}
