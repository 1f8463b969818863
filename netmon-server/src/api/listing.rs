//! Pages of a list: `limit` and `cursor` in, `{items, next_cursor}` out.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{cursor::Scope, problem::Problem};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor`, with all other parameters repeated, for the next page; null after the
    /// last one.
    pub next_cursor: Option<String>,
}

/// The page a request asks for, in a list ordered by keys of type `K`.
pub struct Page<K> {
    limit: usize,
    scope: Scope,
    /// The key of the last row of the page before.
    pub after: Option<K>,
    key: PhantomData<K>,
}

impl<K: Serialize + DeserializeOwned> Page<K> {
    /// Parses the parameters `limit` and `cursor` of a list with `scope`.
    pub fn parse(scope: Scope, limit: Option<&str>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::parameter("limit", "it must be 1 to 1000"))?,
        };
        let after = match cursor {
            None => None,
            Some(token) => Some(scope.open(token).map_err(|_| Problem::InvalidCursor)?),
        };
        Ok(Self {
            limit,
            scope,
            after,
            key: PhantomData,
        })
    }

    /// How many rows to ask the database for: one more than the page holds tells whether there is
    /// a next page.
    pub fn fetch(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// How many rows the page holds at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The page of these rows, for a list that knows by itself where the next one begins.
    pub fn close_at<T>(&self, items: Vec<T>, next: Option<&K>) -> Listing<T> {
        Listing {
            items,
            next_cursor: next.map(|key| self.scope.seal(key)),
        }
    }

    /// The page made of at most [`fetch`](Self::fetch) rows.
    pub fn close<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Listing<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|row| self.scope.seal(&key(row)));
        Listing {
            items: rows,
            next_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<&str>, cursor: Option<&str>) -> Result<Page<i64>, Problem> {
        Page::parse(Scope::new("test", &[]), limit, cursor)
    }

    #[test]
    fn a_limit_outside_1_to_1000_is_refused() {
        for limit in ["0", "1001", "-1", "", "ten", "1.5", "99999999999999999999"] {
            assert!(page(Some(limit), None).is_err(), "{limit}");
        }
        assert_eq!(page(Some("1000"), None).unwrap().fetch(), 1001);
        assert_eq!(page(None, None).unwrap().fetch(), 101);
    }

    #[test]
    fn only_a_page_with_rows_behind_it_has_a_cursor() {
        let page_of_two = page(Some("2"), None).unwrap();
        assert_eq!(page_of_two.close(vec![1, 2], |key| *key).next_cursor, None);
        let listing = page_of_two.close(vec![1, 2, 3], |key| *key);
        assert_eq!(listing.items, [1, 2]);
        assert_eq!(
            page(None, listing.next_cursor.as_deref()).unwrap().after,
            Some(2)
        );
    }
}
