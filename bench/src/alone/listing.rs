//! Goal 7: a very large directory is listed in the memory of a small one.

use berth_tests::listing;

use super::{Outcome, Setting, float, wanted};

const SMALL: usize = 1000;
/// What a listing's own buffers may differ by.
const MOST_MORE: u64 = 1 << 20;

pub(super) fn measure(setting: &Setting) -> Outcome {
    let entries = if setting.short { 100_000 } else { 1_000_000 };
    let server = setting.server();
    server.add_user("lister", "l", "unlimited");
    let user = ("lister", "l");
    listing::make_directory(&server, user.0, "small", SMALL);
    listing::make_directory(&server, user.0, "large", entries);
    let small = listing::peaks(&server, user, "small", SMALL);
    let large = listing::peaks(&server, user, "large", entries);
    let rows = ["worker", "filer"].into_iter().zip(small.into_iter().zip(large));
    Ok(rows
        .map(|(process, (small, large))| {
            let more = large.saturating_sub(small);
            let text = format!(
                "listing {entries} entries: most memory of the {process} in MiB, beside {:.1} for {SMALL}",
                mib(small)
            );
            let most = format!("at most {:.1}", mib(small + MOST_MORE));
            (text, wanted(format!("{:.1}", mib(large)), most, more <= MOST_MORE))
        })
        .collect())
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / float(1 << 20)
}
