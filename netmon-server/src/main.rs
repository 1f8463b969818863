//! The netmon server's command line; everything else is in the library.

/// Messages of thousands of agents are taken and given back all the time, on every thread: this
/// allocator keeps less memory for them than the C library's, and takes less time. See the fleet
/// benchmark.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    netmon_server::cli::main()
}
