//! The command line of `berth discover`.

/// `berth discover`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DiscoverArgs {
    /// How long to listen, in seconds, from 2 on: who has just answered somebody waits for a second
    #[arg(
        long = "for",
        value_name = "SECONDS",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(2..=3600)
    )]
    pub seconds: u32,
}
