//! The `brooklet` command.

fn main() -> std::process::ExitCode {
    brooklet::cli::run()
}
