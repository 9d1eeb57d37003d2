//! Puts a file with a line of progress, shows what the directory has then, and gets it back.
//!
//! `upload SERVER FINGERPRINT USER LOCAL REMOTE BACK`, with the password in `BERTH_PASSWORD`. An upload that was cut off
//! is gone on with when the same is run again.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use berth::{
    Connector, Credentials, ErrorCode, Event, GetOptions, Password, PutOptions, RelPath, Session,
    TransferError, UserName,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upload: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, fingerprint, user, local, remote, back] = &arguments[..] else {
        return Err("usage: upload SERVER FINGERPRINT USER LOCAL REMOTE BACK".into());
    };
    let password = std::env::var("BERTH_PASSWORD").map_err(|_| "set BERTH_PASSWORD")?;
    let credentials = Credentials::password(UserName::new(user)?, Password::new(password));
    let remote = RelPath::new(remote)?;

    // No other server than the one with this certificate is spoken to.
    let connector = Connector::new(server.parse()?).fingerprint(fingerprint.parse()?);
    let session = connector.connect().await?.log_in(&credentials).await?;

    put(&session, local, &remote).await?;
    let parent = remote.split_last().map_or(RelPath::root(), |(parent, _)| parent);
    list(&session, &parent).await?;
    let got = session.get(&remote, back, &GetOptions::new().replace(true)).await?;
    println!("{back}: {} bytes, as they were sent", got.size);
    session.close().await;
    Ok(())
}

async fn put(session: &Session, local: &str, remote: &RelPath) -> Result<(), Box<dyn Error>> {
    let options = PutOptions::new().progress(show);
    let report = match session.put(local, remote, &options).await {
        Ok(report) => report,
        // What the server says has its numbers, and needs not be shown in its words.
        Err(TransferError::Server(ErrorCode::QuotaExceeded { limit, requested, .. })) => {
            return Err(format!("{requested} bytes more do not fit into {limit}").into());
        }
        Err(error) => return Err(error.into()),
    };
    println!("\r{local}: {} bytes, {} of them were there", report.size, report.resumed_bytes());
    Ok(())
}

/// One line, which is written over. It is called by the transfer, so it does nothing that takes long.
fn show(event: Event) {
    match event {
        Event::Started { size: Some(size), from } => print!("{from} of {size} bytes"),
        Event::Advanced { position } => print!("\r{position} bytes"),
        Event::Storing => print!("\rstoring"),
        _ => {}
    }
    // That nobody reads it is no reason to stop.
    let _ = io::stdout().flush();
}

async fn list(session: &Session, directory: &RelPath) -> Result<(), Box<dyn Error>> {
    let mut listing = session.list(directory).await?;
    while let Some(entries) = listing.next_part().await? {
        for entry in entries {
            println!("{:>12}  {}", entry.size, entry.name.escape_debug());
        }
    }
    Ok(())
}
