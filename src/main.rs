//! The binary: hands its arguments to the library and ends with the exit code that gives.

fn main() -> std::process::ExitCode {
    lap::cli::run(std::env::args_os())
}
