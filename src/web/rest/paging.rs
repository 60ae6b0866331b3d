//! Pages of lists: `limit`, `cursor`, and the `Link` header that leads on (RFC 8288).

use actix_web::{HttpResponse, http::header};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::error::{Error, Result};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// At most so many items.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Where the page before ended: as its `Link` header says.
    #[param(example = "68a1f0c2e4b0a1b2c3d4e5f6", nullable = false)]
    cursor: Option<String>,
}

/// A checked [`PageQuery`].
pub(super) struct Page<C> {
    limit: u32,
    /// The last item of the page before.
    pub(super) after: Option<C>,
}

impl PageQuery {
    /// Reads the cursor as a `C`.
    pub(super) fn parse<C: std::str::FromStr>(self) -> Result<Page<C>> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::field("limit", "must be between 1 and 1000"));
        }
        let after = self.cursor.map(|cursor| cursor.parse()).transpose();
        let after = after.map_err(|_| Error::field("cursor", "is not one that a Link header gave"));
        Ok(Page { limit, after: after? })
    }
}

impl<C: std::fmt::Display> Page<C> {
    /// How many items to ask for: one more than are shown tells whether there is another page.
    pub(super) const fn probe_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The answer: the items, each with its cursor, and the way to the next page if there is one.
    pub(super) fn answer<T: Serialize>(&self, path: &str, items: &[(C, T)]) -> HttpResponse {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut response = HttpResponse::Ok();
        if let (true, Some((last, _))) = (items.len() > limit, items.get(limit - 1)) {
            let next = format!("<{path}?limit={limit}&cursor={last}>; rel=\"next\"");
            response.insert_header((header::LINK, next));
        }
        let shown: Vec<&T> = items.iter().take(limit).map(|(_, item)| item).collect();
        response.json(shown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        AccountId, EmployeeId,
        hostile::{almost, any_text},
    };

    fn after<C: std::str::FromStr>(cursor: &str) -> Option<C> {
        let query = PageQuery { limit: None, cursor: Some(cursor.to_owned()) };
        query.parse().ok().and_then(|page| page.after)
    }

    proptest! {
        #[test]
        fn hostile_cursors_are_refused_or_stay_the_same(
            raw in prop_oneof![any_text(), almost("[0-9a-f]{24}"), almost("[1-9][0-9]{0,18}")],
        ) {
            if let Some(id) = after::<EmployeeId>(&raw) {
                prop_assert_eq!(id.to_string(), raw.as_str());
            }
            if let Some(id) = after::<AccountId>(&raw) {
                prop_assert_eq!(after(&id.to_string()), Some(id));
            }
        }
    }

    #[test]
    fn the_next_page_starts_behind_the_last_item_that_was_shown() {
        let page: Page<EmployeeId> = PageQuery { limit: Some(2), cursor: None }.parse().unwrap();
        let items = [1, 2, 3].map(|id| (EmployeeId::from(id), id));
        let link = page.answer("/x", &items).headers().get(header::LINK).cloned().unwrap();
        assert_eq!(link, "</x?limit=2&cursor=2>; rel=\"next\"");
        assert_eq!(after("2"), Some(EmployeeId::from(2)));
    }
}
