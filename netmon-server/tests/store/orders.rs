//! Batches that come in any order.

use netmon_common::wire::Batch;
use sqlx::PgPool;

use crate::database::store;

/// All orders of three.
pub const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// A database in which an agent's batches have been stored in that order.
pub async fn stored_in(order: [usize; 3], batches: &[Batch; 3]) -> PgPool {
    let (store, pool, agent) = store().await;
    for index in order {
        let rows = store.validate(agent, &batches[index]).unwrap();
        store.commit(&rows).await.unwrap();
    }
    pool
}
