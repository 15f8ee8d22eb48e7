//! `rowmill` as the end-to-end tests run it: Cargo builds a package's own binaries for its tests, and
//! no other's.

fn main() -> std::process::ExitCode {
    rowmill::main()
}
