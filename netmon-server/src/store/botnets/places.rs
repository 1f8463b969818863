//! Places of nodes: numbers for codes, given once and never changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::PoisonError,
};

use netmon_geo::Place;

use super::{BotnetError, Botnets};

impl Botnets {
    /// The numbers of places, in the order of the places. New ones are added in a transaction of
    /// their own: a number without a node does no harm.
    ///
    /// # Errors
    /// The database's.
    pub async fn place_ids(&self, places: &[Place]) -> Result<Vec<i32>, BotnetError> {
        let missing = {
            let known = self.places.read().unwrap_or_else(PoisonError::into_inner);
            let missing = places.iter().filter(|place| !known.contains_key(*place));
            // In order, so that two who add the same places do not wait for each other.
            missing.map(codes).collect::<BTreeSet<_>>()
        };
        if !missing.is_empty() {
            self.learn(&missing, places).await?;
        }
        let known = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let ids = places.iter().map(|place| known.get(place).copied());
        Ok(ids.collect::<Option<_>>().ok_or(sqlx::Error::RowNotFound)?)
    }

    async fn learn(
        &self,
        missing: &BTreeSet<(&str, &str, &str)>,
        places: &[Place],
    ) -> Result<(), BotnetError> {
        let (mut countries, mut provinces, mut cities) = (Vec::new(), Vec::new(), Vec::new());
        for (country, province, city) in missing {
            countries.push(*country);
            provinces.push(*province);
            cities.push(*city);
        }
        sqlx::query(
            "INSERT INTO botnet_places (country, province, city)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
             ON CONFLICT (country, province, city) DO NOTHING",
        )
        .bind(&countries)
        .bind(&provinces)
        .bind(&cities)
        .execute(&self.pool)
        .await?;
        let ids: Vec<(i32, String, String, String)> = sqlx::query_as(
            "SELECT p.place_id, p.country, p.province, p.city
             FROM unnest($1::text[], $2::text[], $3::text[]) AS w (country, province, city)
             JOIN botnet_places p USING (country, province, city)",
        )
        .bind(&countries)
        .bind(&provinces)
        .bind(&cities)
        .fetch_all(&self.pool)
        .await?;
        let ids: HashMap<_, _> = ids
            .iter()
            .map(|(id, country, province, city)| {
                ((country.as_str(), province.as_str(), city.as_str()), *id)
            })
            .collect();
        let mut known = self.places.write().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            if let Some(id) = ids.get(&codes(place)) {
                known.entry(*place).or_insert(*id);
            }
        }
        Ok(())
    }
}

fn codes(place: &Place) -> (&str, &str, &str) {
    (place.country(), place.province(), place.city())
}
