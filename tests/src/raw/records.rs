//! TLS records of any type and content, encrypted with the keys of a finished handshake: what no TLS library
//! would send.

use std::io::{self, Write as _};
use std::net::TcpStream;

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};

use super::Raw;

/// A connection whose records are made by hand. It reads nothing.
pub struct Records {
    socket: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

/// The client to connect with when its records are to be made by hand later.
#[must_use]
pub fn config() -> ClientConfig {
    let mut config = super::tls_config();
    config.enable_secret_extraction = true;
    config
}

impl Raw {
    /// Goes on with records made by hand. The connection must have been made with [`config`].
    ///
    /// # Panics
    /// When the keys cannot be had.
    #[must_use]
    pub fn by_hand(self) -> Records {
        let (tls, socket) = self.stream.into_parts();
        let suite = match tls.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls13(suite)) => suite,
            other => panic!("not TLS 1.3: {other:?}"),
        };
        let secrets = tls.dangerous_extract_secrets().expect("the keys");
        let (sequence, keys) = secrets.tx;
        let encrypter = match keys {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                suite.aead_alg.encrypter(key, iv)
            }
            _ => panic!("an unknown cipher"),
        };
        Records { socket, encrypter, sequence }
    }
}

impl Records {
    /// One record, which is to be sent next.
    ///
    /// # Panics
    /// When it cannot be encrypted.
    pub fn record(&mut self, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: kind,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(content),
        };
        let record = self.encrypter.encrypt(message, self.sequence).expect("a record");
        self.sequence += 1;
        record.encode()
    }

    /// Sends one.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send(&mut self, kind: ContentType, content: &[u8]) -> io::Result<()> {
        let record = self.record(kind, content);
        self.socket.write_all(&record)
    }

    /// The connection.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
