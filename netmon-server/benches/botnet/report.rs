//! What is printed: each figure beside its limit.

use anyhow::Result;
use sqlx::PgPool;

use crate::machine;

/// The machine, the database, and what is done.
pub async fn machine(pool: &PgPool) -> Result<()> {
    machine::print(pool).await?;
    println!(
        "method: clients in this process, the server and its database share these CPUs; everything goes \
         over HTTP to the real server. Addresses are spread over all public IPv4 networks and located by \
         the files that are built in"
    );
    Ok(())
}

pub fn heading(text: &str) {
    println!("\n{text}");
}

/// What a figure may be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure with its limit; none: only told.
pub fn figure(name: &str, value: f64, unit: &str, limit: Option<Limit>) {
    let verdict = match limit {
        None => String::new(),
        Some(Limit::AtLeast(limit)) => {
            let mark = if value < limit { "  BELOW" } else { "" };
            format!("  (limit >= {}{mark})", number(limit))
        }
        Some(Limit::AtMost(limit)) => {
            let mark = if value > limit { "  ABOVE" } else { "" };
            format!("  (limit <= {}{mark})", number(limit))
        }
    };
    println!("  {name:<66} {:>11} {unit}{verdict}", number(value));
}

/// With as many digits as say something.
pub fn number(value: f64) -> String {
    if value >= 1000.0 {
        grouped(value.round() as u64)
    } else if value >= 100.0 || value == value.round() {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// With commas.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
