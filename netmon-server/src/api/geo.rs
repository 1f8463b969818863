//! Where an address is, by the geo files in use.

use std::net::IpAddr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    botnets::{
        Language, Place,
        node::{self, AddressSegment},
    },
    extract::{Parameters, Segments},
    problem::Problem,
};

/// Where an address is.
#[derive(Serialize, ToSchema)]
#[schema(as = LocatedAddress)]
pub struct Located {
    #[schema(value_type = String, example = "114.114.114.114")]
    address: IpAddr,
    #[serde(flatten)]
    place: Place,
    edition: Edition,
}

/// Which data says so.
#[derive(Serialize, ToSchema)]
#[schema(as = GeoEdition)]
pub struct Edition {
    /// SHA-256 over the geo files in their order and the settings.
    fingerprint: String,
    /// The files with their versions.
    description: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GeoParameters {
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
}

/// Where an address is, by the geo files in use now.
///
/// Nodes of botnets have the place that was found when they came, until they are located again.
/// Private, reserved and multicast addresses are nowhere: every code is null.
#[utoipa::path(
    get,
    path = "/api/v1/geo/{ip}",
    tag = "botnets",
    operation_id = "locate_address",
    params(AddressSegment, GeoParameters),
    responses((status = 200, description = "Its place", body = Located))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(AddressSegment { ip }): Segments<AddressSegment>,
    Parameters(parameters): Parameters<GeoParameters>,
) -> Result<Json<Located>, Problem> {
    let address = node::address(&ip)?;
    let language = Language::parse(parameters.lang.as_deref(), Language::English)?;
    let current = api.geo.current();
    let place = current.locate(address);
    let edition = current.edition();
    Ok(Json(Located {
        address,
        place: Place::new(place.country(), place.province(), place.city(), language),
        edition: Edition {
            fingerprint: edition.fingerprint.clone(),
            description: edition.description.clone(),
        },
    }))
}
