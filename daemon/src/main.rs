//! The program `berthd`. All of it is in the library, so that the fuzz targets reach it.

fn main() -> std::process::ExitCode {
    berth_daemon::run()
}
