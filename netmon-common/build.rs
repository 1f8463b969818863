//! Compiles the wire messages with protox, so that no external `protoc` is needed.

#[cfg(feature = "wire")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/netmon.proto"], ["proto"])?;
    // Large, and only in a few of the messages that may hold it.
    prost_build::Config::new()
        .boxed(".netmon.v1.Live.system")
        .compile_fds(descriptors)?;
    Ok(())
}

#[cfg(not(feature = "wire"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
