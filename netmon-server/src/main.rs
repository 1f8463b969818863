//! The netmon server's command line; everything else is in the library.

/// Memory for messages of thousands of agents is taken and given back all the time, on every thread:
/// an allocator made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    netmon_server::cli::main()
}
