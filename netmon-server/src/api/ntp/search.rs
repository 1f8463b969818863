//! Clients by a filter in the body, with numbered pages or cursors.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    client::{Key, NtpClient},
    filter::Wish,
    selection::{Order, Selection, Sort},
};
use crate::api::{Api, cursor::Scope, extract::Posted, listing::Page, problem::Problem};

/// Items of a page unless the request says.
const PAGE_SIZE: i64 = 20;
const MAX_PAGE_SIZE: i64 = 1000;

/// A search.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpSearch)]
pub struct Search {
    /// Which clients; all by default.
    #[serde(alias = "filters")]
    pub filter: Wish,
    /// By what they are ordered.
    #[serde(alias = "sort_by")]
    pub sort: Sort,
    #[serde(alias = "sort_order")]
    pub order: Order,
    /// Counted from 1. Far pages cost what the ones before hold: go on with `cursor` there.
    #[schema(minimum = 1)]
    pub page: Option<i64>,
    #[serde(alias = "limit")]
    #[schema(minimum = 1, maximum = 1000)]
    pub page_size: Option<i64>,
    /// `next_cursor` of the page before, instead of `page`.
    pub cursor: Option<String>,
}

/// A page of what was found.
#[derive(Serialize, ToSchema)]
pub struct Found<T> {
    pub items: Vec<T>,
    /// How many there are, counted up to 10,000.
    pub total: i64,
    /// False: there are more.
    pub total_is_exact: bool,
    pub page: i64,
    pub page_size: i64,
    /// For what follows the page, with everything else repeated; null after the last one, and where
    /// the order is not that of clients.
    pub next_cursor: Option<String>,
}

/// Clients that fit a filter.
#[utoipa::path(
    post,
    path = "/api/v1/ntp/search",
    tag = "ntp",
    operation_id = "search_ntp_clients",
    request_body = Search,
    responses((status = 200, description = "A page of the clients found", body = Found<NtpClient>))
)]
pub async fn clients(
    State(api): State<Api>,
    Posted(search): Posted<Search>,
) -> Result<Json<Found<NtpClient>>, Problem> {
    Ok(Json(search.run(&api).await?))
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    post,
    path = "/api/ntp/history/search",
    tag = "ntp",
    operation_id = "search_ntp_history",
    request_body = Search,
    responses((status = 200, description = "A page of the clients found", body = Found<NtpClient>))
)]
pub async fn history(
    api: State<Api>,
    search: Posted<Search>,
) -> Result<Json<Found<NtpClient>>, Problem> {
    clients(api, search).await
}

impl Search {
    /// The page that is asked for.
    pub async fn run(&self, api: &Api) -> Result<Found<NtpClient>, Problem> {
        let page_size = self.page_size.unwrap_or(PAGE_SIZE);
        if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
            return Err(Problem::parameter("page_size", "it must be 1 to 1000"));
        }
        let page = self.page.unwrap_or(1);
        let offset = page
            .checked_sub(1)
            .and_then(|before| before.checked_mul(page_size))
            .filter(|offset| *offset >= 0)
            .ok_or_else(|| Problem::parameter("page", "it must be 1 or more"))?;
        if self.cursor.is_some() && (self.page.is_some() || self.sort != Sort::Client) {
            let reason = "it goes with neither page nor sort";
            return Err(Problem::parameter("cursor", reason));
        }
        let limit = page_size.to_string();
        let cursors = self.cursors(&limit)?;
        let mut selection = Selection::new(&api.database, &self.filter).await?;
        (selection.sort, selection.order) = (self.sort, self.order);
        let after = cursors.after.as_ref();
        let rows = selection
            .fetch(&api.database, after, offset, cursors.fetch())
            .await?;
        let (total, total_is_exact) = selection.count(&api.database).await?;
        let listing = cursors.close(rows, NtpClient::key);
        Ok(Found {
            items: listing.items,
            total,
            total_is_exact,
            page,
            page_size,
            next_cursor: listing.next_cursor.filter(|_| self.sort == Sort::Client),
        })
    }

    fn cursors(&self, limit: &str) -> Result<Page<Key>, Problem> {
        let order = format!("{:?}", self.order);
        let filters = [Some(self.filter.fingerprint()), Some(order)];
        let filters = filters.each_ref().map(Option::as_deref);
        let scope = Scope::new("ntp_search", &filters);
        Page::parse(scope, Some(limit), self.cursor.as_deref())
    }
}
