//! Rebuilds when a migration is added: `sqlx::migrate!` only notices changes of files it knows.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
