//! The netmon server's command line; everything else is in the library.

fn main() -> std::process::ExitCode {
    netmon_server::cli::main()
}
