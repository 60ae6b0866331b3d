//! Pages of lists: `limit`, `cursor`, and the `Link` header to the next page (RFC 8288).

use std::{fmt::Display, marker::PhantomData, str::FromStr};

use actix_web::{HttpResponse, http::header};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use validator::{Validate, ValidationErrors};

use crate::{domain::Invalid, error::FieldErrors, web::http::input::Input};

const DEFAULT_LIMIT: u32 = 100;

/// The part of a list to return.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The maximum number of items.
    #[validate(range(min = 1, max = 1000, message = "must be between 1 and 1000"))]
    #[param(minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Where the previous page ended, from its `Link` header.
    #[param(example = "68a1f0c2e4b0a1b2c3d4e5f6", nullable = false)]
    cursor: Option<String>,
}

/// A [`PageQuery`] whose cursors are `C`s.
#[derive(Deserialize)]
#[serde(bound = "", transparent)]
pub(super) struct PageOf<C> {
    query: PageQuery,
    #[serde(skip)]
    of: PhantomData<C>,
}

/// A checked [`PageQuery`].
pub(super) struct Page<C> {
    limit: u32,
    /// The previous page's last item.
    pub(super) after: Option<C>,
}

impl<C> Validate for PageOf<C> {
    fn validate(&self) -> Result<(), ValidationErrors> {
        self.query.validate()
    }
}

impl<C: FromStr> Input for PageOf<C> {
    type Meaning = Page<C>;

    fn parse(self, errors: &mut FieldErrors) -> Option<Page<C>> {
        let limit = errors.check("limit", Ok(self.query.limit.unwrap_or(DEFAULT_LIMIT)));
        let after = self.query.cursor.map(|cursor| cursor.parse()).transpose();
        let after = after.map_err(|_| Invalid("is not a cursor of a Link header"));
        let after = errors.check("cursor", after);
        Some(Page { limit: limit?, after: after? })
    }
}

impl<C: Display> Page<C> {
    /// The number of items to read: one more than the page holds shows whether another page
    /// follows.
    pub(super) const fn probe_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The response for items with their cursors, with a link to the next page if there is one.
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
    use crate::{
        domain::{
            AccountId, EmployeeId,
            hostile::{almost, any_text},
        },
        web::http::input::valid,
    };

    fn page<C: FromStr>(limit: Option<u32>, cursor: Option<&str>) -> Option<Page<C>> {
        let query = PageQuery { limit, cursor: cursor.map(str::to_owned) };
        valid(PageOf { query, of: PhantomData }).ok()
    }

    fn after<C: FromStr>(cursor: &str) -> Option<C> {
        page(None, Some(cursor)).and_then(|page| page.after)
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
    fn the_next_page_starts_after_the_last_item_of_the_previous_one() {
        let page: Page<EmployeeId> = page(Some(2), None).unwrap();
        let items = [1, 2, 3].map(|id| (EmployeeId::from(id), id));
        let link = page.answer("/x", &items).headers().get(header::LINK).cloned().unwrap();
        assert_eq!(link, "</x?limit=2&cursor=2>; rel=\"next\"");
        assert_eq!(after("2"), Some(EmployeeId::from(2)));
    }
}
