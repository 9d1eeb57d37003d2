//! Goal 6: from the connection to the end of the handshake, beside nginx, by turns and by the same client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use berth_tests::{raw, wait_until};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{Outcome, Setting, wanted};
use crate::peers;
use crate::runs::median;

pub(super) fn measure(setting: &Setting) -> Outcome {
    let rounds = if setting.short { 100 } else { 500 };
    let server = setting.server();
    let berth: SocketAddr =
        server.address().parse().map_err(|_| "the server has no address".to_owned())?;
    let place = setting.place("nginx")?;
    let nginx = peers::Nginx::start(&place).map_err(|error| format!("nginx: {error}"))?;
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, nginx.port()));
    let (ours, theirs) = (Arc::new(config(true)), Arc::new(config(false)));
    let (mut berths, mut nginxs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // Berth's are measured with spares, and nginx has its processes at any time.
        wait_until("spares wait", || server.status().spare_workers >= 2);
        berths.push(milliseconds(berth, &ours).map_err(|error| error.to_string())?);
        nginxs.push(milliseconds(peer, &theirs).map_err(|error| error.to_string())?);
    }
    let medians = median(&berths).zip(median(&nginxs)).ok_or("no round was counted")?;
    let ratio = medians.1 / medians.0;
    let text = format!(
        "connection to end of handshake, median of {rounds}: nginx's {:.2} ms ÷ Berth's {:.2} ms",
        medians.1, medians.0
    );
    Ok(vec![(text, wanted(format!("{ratio:.2}"), "1.00".to_owned(), ratio >= 1.0))])
}

/// The tests' client without tickets, so that each handshake is a full one; nginx knows no `berth/1`.
fn config(alpn: bool) -> ClientConfig {
    let mut config = raw::tls_config();
    config.resumption = Resumption::disabled();
    if !alpn {
        config.alpn_protocols.clear();
    }
    config
}

fn milliseconds(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<f64> {
    let name = ServerName::try_from("berth").map_err(io::Error::other)?;
    let began = Instant::now();
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
