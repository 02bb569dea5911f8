//! `payload`: makes, signs, checks and publishes payloads.

fn main() -> std::process::ExitCode {
    payload_tools::cli::main()
}
