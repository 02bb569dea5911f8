//! `payload`: makes, signs, checks and publishes payloads.

fn main() -> std::process::ExitCode {
    payload_tools::confined::enter_if_asked();
    payload_tools::cli::main()
}
