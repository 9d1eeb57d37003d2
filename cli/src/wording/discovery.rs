//! Why nobody could be asked on the local network.

use berth_discovery::NetworkError;
use rust_i18n::t;

use super::InWords;
use crate::human;

impl InWords for NetworkError {
    fn in_words(&self) -> String {
        match self {
            Self::Unlisted(error) => {
                t!("cannot list the network interfaces: %{reason}", reason = human::reason(error))
            }
            Self::NoInterface => t!("no network interface is up that can do multicast"),
            Self::Unusable { interface, source } => t!(
                "cannot listen to multicast DNS (UDP port 5353) on %{interface}: %{reason}",
                interface = interface,
                reason = human::reason(source)
            ),
        }
        .into_owned()
    }
}
