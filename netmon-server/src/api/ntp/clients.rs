//! NTP clients: one row per client and server, with the newest of what they said.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    client::{Key, NtpClient},
    filter::{Wish, values},
    selection::Selection,
};
use crate::api::{
    Api,
    cursor::Scope,
    extract::Parameters,
    listing::{Listing, Page},
    problem::Problem,
};

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address, or a network.
    #[param(example = "192.0.2.0/24")]
    client: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// Stratum of the newest response.
    #[param(example = "1,2")]
    stratum: Option<String>,
    /// NTP version of the newest response.
    version: Option<String>,
    /// Leap indicator of the newest response, 0 to 3.
    leap: Option<String>,
    /// Where the sensor is: `client`, `server`, `transit`.
    vantage: Option<String>,
    /// The newest offset is further from 0 than so many nanoseconds.
    #[param(value_type = Option<u64>)]
    offset_over_ns: Option<String>,
    /// Last seen at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Last seen before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// NTP clients by agent, interface, client and server.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/clients",
    tag = "ntp",
    operation_id = "list_ntp_clients",
    params(ClientParameters),
    responses((status = 200, description = "A page of the list", body = Listing<NtpClient>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ClientParameters>,
) -> Result<Json<Listing<NtpClient>>, Problem> {
    let wish = parameters.wish();
    let page = parameters.page(&wish)?;
    let selection = Selection::new(&api.database, &wish).await?;
    let rows = selection
        .fetch(&api.database, page.after.as_ref(), 0, page.fetch())
        .await?;
    Ok(Json(page.close(rows, NtpClient::key)))
}

impl ClientParameters {
    fn wish(&self) -> Wish {
        Wish {
            agent: values(self.agent.as_deref()),
            interface: values(self.interface.as_deref()),
            client: values(self.client.as_deref()),
            server: values(self.server.as_deref()),
            stratum: values(self.stratum.as_deref()),
            version: values(self.version.as_deref()),
            leap: values(self.leap.as_deref()),
            r#match: Vec::new(),
            vantage: values(self.vantage.as_deref()),
            from: self.from.clone(),
            to: self.to.clone(),
            offset_over_ns: self.offset_over_ns.clone(),
        }
    }

    fn page(&self, wish: &Wish) -> Result<Page<Key>, Problem> {
        let scope = Scope::new("ntp_clients", &[Some(&wish.fingerprint())]);
        Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())
    }
}
