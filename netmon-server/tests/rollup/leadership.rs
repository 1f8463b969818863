//! One server at a time does a job.

use std::time::Duration as Length;

use time::{Duration, macros::datetime};

use crate::site::{Site, another};

#[tokio::test]
async fn a_lease_is_one_servers_until_it_ends_or_is_given_back() {
    let site = Site::new().await;
    let (first, second) = (another(&site).await, another(&site).await);
    let now = datetime!(2026-11-20 10:00 UTC);
    let minute = Length::from_secs(60);
    assert!(first.lead("job", now, minute).await.unwrap());
    assert!(!second.lead("job", now, minute).await.unwrap());
    assert!(second.lead("another job", now, minute).await.unwrap());

    let renewed = now + Duration::seconds(59);
    assert!(first.lead("job", renewed, minute).await.unwrap());
    let later = now + Duration::seconds(61);
    assert!(!second.lead("job", later, minute).await.unwrap());

    let over = renewed + Duration::seconds(60);
    assert!(second.lead("job", over, minute).await.unwrap());
    assert!(!first.lead("job", over, minute).await.unwrap());

    first.resign("job").await.unwrap();
    assert!(!first.lead("job", over, minute).await.unwrap());
    second.resign("job").await.unwrap();
    assert!(first.lead("job", over, minute).await.unwrap());
}
