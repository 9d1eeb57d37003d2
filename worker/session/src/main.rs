//! The program `berth-worker`. All of it is in the library, so that the fuzz targets reach it.

fn main() -> std::process::ExitCode {
    berth_session::run()
}
