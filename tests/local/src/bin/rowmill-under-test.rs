//! The program `rowmill` for the end-to-end tests: Cargo builds only the binaries of a package for its
//! tests.

fn main() -> std::process::ExitCode {
    rowmill::main()
}
