//! The test protocols, server side.

use std::{io, sync::Mutex};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, StreamProtocol};
use sha2::{Digest, Sha256};

pub const PERF: &str = "/perf/1.0.0";
pub const ECHO: &str = "/interop/echo/1.0.0";
pub const HALF_CLOSE: &str = "/interop/half-close/1.0.0";
pub const RESET: &str = "/interop/reset/1.0.0";
pub const HANDLE: &str = "/interop/handle/1.0.0";
pub const PROTOCOLS: [&str; 5] = [PERF, ECHO, HALF_CLOSE, RESET, HANDLE];

/// Protocols that a remote has asked for by [`HANDLE`]; each is an echo.
pub static ASKED_FOR: Mutex<Vec<StreamProtocol>> = Mutex::new(Vec::new());

const BLOCK: usize = 64 * 1024;

pub fn serve(protocol: &str, stream: Stream) {
    let protocol = protocol.to_owned();
    tokio::spawn(async move {
        let result = match protocol.as_str() {
            PERF => perf(stream).await,
            ECHO => echo(stream).await,
            HALF_CLOSE => half_close(stream).await,
            RESET => reset(stream).await,
            HANDLE => handle(stream).await,
            _ => echo(stream).await,
        };
        if let Err(error) = result {
            eprintln!("{protocol}: {error}");
        }
    });
}

/// Takes everything, then sends back as many bytes as asked for.
async fn perf(mut stream: Stream) -> io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    drain(&mut stream).await?;
    write_zeros(&mut stream, u64::from_be_bytes(wanted)).await?;
    stream.close().await
}

pub async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let n = stream.read(&mut block).await?;
        if n == 0 {
            return stream.close().await;
        }
        stream.write_all(&block[..n]).await?;
        stream.flush().await?;
    }
}

/// Answers only after EOF, so the answer has to come over a stream that the
/// remote has closed for writing.
async fn half_close(mut stream: Stream) -> io::Result<()> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut count = 0;
    loop {
        let n = stream.read(&mut block).await?;
        if n == 0 {
            break;
        }
        count += n;
        hash.update(&block[..n]);
    }
    let answer = format!("{count} {:x}", hash.finalize());
    stream.write_all(answer.as_bytes()).await?;
    stream.close().await
}

/// Answers on one more protocol from now on.
async fn handle(mut stream: Stream) -> io::Result<()> {
    let mut name = String::new();
    stream.read_to_string(&mut name).await?;
    let protocol = StreamProtocol::try_from_owned(name).map_err(io::Error::other)?;
    ASKED_FOR.lock().map_err(|error| io::Error::other(error.to_string()))?.push(protocol);
    stream.close().await
}

/// A stream that is dropped without being closed is reset.
async fn reset(mut stream: Stream) -> io::Result<()> {
    stream.read_exact(&mut [0]).await
}

pub async fn drain(stream: &mut Stream) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut count = 0;
    loop {
        match stream.read(&mut block).await? {
            0 => return Ok(count),
            n => count += n as u64,
        }
    }
}

pub async fn write_zeros(stream: &mut Stream, mut count: u64) -> io::Result<()> {
    let block = vec![0; BLOCK];
    while count > 0 {
        let n = count.min(BLOCK as u64);
        stream.write_all(&block[..n as usize]).await?;
        count -= n;
    }
    Ok(())
}
