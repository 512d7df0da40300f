//! The tests that a dialer runs.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use futures::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    future::{join_all, try_join_all},
};
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, identify, multiaddr::Protocol, ping, swarm::SwarmEvent,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Behaviour, BehaviourEvent, Options,
    serve::{ECHO, HALF_CLOSE, HANDLE, PERF, RESET, drain, write_zeros},
    streams::Control,
};

const TIMEOUT: Duration = Duration::from_secs(60);
const PUSHED: &str = "/interop/pushed/1.0.0";

pub const TESTS: [&str; 10] = [
    "ping",
    "identify",
    "perf-upload",
    "perf-download",
    "streams",
    "half-close",
    "reset-remote",
    "reset-local",
    "early-muxer",
    "identify-push",
];

type Outcome = Result<Value, Box<dyn Error>>;

/// Runs the test, prints its result and tells whether it passed.
pub async fn dial(swarm: Swarm<Behaviour>, control: Control, options: Options) -> bool {
    let outcome = tokio::time::timeout(TIMEOUT, connect_and_run(swarm, control, &options))
        .await
        .unwrap_or_else(|_| Err(format!("timed out after {TIMEOUT:?}").into()));
    let test = &options.test;
    let line = match &outcome {
        Ok(detail) => json!({"event": "result", "test": test, "ok": true, "detail": detail}),
        Err(error) => {
            json!({"event": "result", "test": test, "ok": false, "detail": {}, "error": error.to_string()})
        }
    };
    println!("{line}");
    outcome.is_ok()
}

async fn connect_and_run(
    mut swarm: Swarm<Behaviour>,
    control: Control,
    options: &Options,
) -> Outcome {
    let address: Multiaddr = options.addr.parse()?;
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        return Err("the address must end with /p2p/PEER_ID".into());
    };
    swarm.dial(address)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    match options.test.as_str() {
        "ping" => test_ping(&mut swarm).await,
        "identify" => test_identify(&mut swarm, peer).await,
        "identify-push" => test_identify_push(&mut swarm, Remote { control, peer }).await,
        // rust-libp2p does not negotiate the muxer in the security handshake
        "early-muxer" => Ok(json!({"earlyMuxer": null})),
        _ => {
            let remote = Remote { control, peer };
            tokio::select! {
                outcome = stream_test(&remote, options) => outcome,
                error = run_until_closed(&mut swarm) => Err(error.into()),
            }
        }
    }
}

async fn run_until_closed(swarm: &mut Swarm<Behaviour>) -> String {
    loop {
        if let SwarmEvent::ConnectionClosed { cause, .. } = swarm.select_next_some().await {
            return format!("the connection broke during the test: {cause:?}");
        }
    }
}

async fn test_ping(swarm: &mut Swarm<Behaviour>) -> Outcome {
    let mut rtts = Vec::new();
    while rtts.len() < 5 {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { result, .. })) => {
                rtts.push(result?.as_secs_f64() * 1000.0);
            }
            SwarmEvent::ConnectionClosed { .. } => return Err("the connection broke".into()),
            _ => {}
        }
    }
    Ok(json!({"rttsMs": rtts}))
}

async fn test_identify(swarm: &mut Swarm<Behaviour>, peer: PeerId) -> Outcome {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                let matches = peer_id == peer && info.public_key.to_peer_id() == peer;
                if !matches || info.protocols.is_empty() {
                    return Err(format!("unexpected identity: {info:?}").into());
                }
                let protocols: Vec<&str> = info.protocols.iter().map(AsRef::as_ref).collect();
                return Ok(json!({
                    "agentVersion": info.agent_version,
                    "protocolVersion": info.protocol_version,
                    "protocols": protocols,
                    "listenAddrs": info.listen_addrs,
                    "observedAddr": info.observed_addr,
                    "publicKeyMatches": matches,
                }));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Error {
                error,
                ..
            })) => return Err(error.into()),
            SwarmEvent::ConnectionClosed { .. } => return Err("the connection broke".into()),
            _ => {}
        }
    }
}

/// Has the remote handle one more protocol, and waits until it says so.
async fn test_identify_push(swarm: &mut Swarm<Behaviour>, remote: Remote) -> Outcome {
    test_identify(swarm, remote.peer).await?;
    let ask = async {
        let mut stream = remote.open(HANDLE).await?;
        stream.write_all(PUSHED.as_bytes()).await?;
        stream.close().await?;
        drain(&mut stream).await
    };
    let mut ask = std::pin::pin!(ask);
    let mut asked = false;
    loop {
        tokio::select! {
            answer = &mut ask, if !asked => { answer?; asked = true; }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                    if info.protocols.iter().any(|protocol| protocol.as_ref() == PUSHED) {
                        return Ok(json!({"pushed": PUSHED}));
                    }
                }
                SwarmEvent::ConnectionClosed { .. } => return Err("the connection broke".into()),
                _ => {}
            }
        }
    }
}

struct Remote {
    control: Control,
    peer: PeerId,
}

impl Remote {
    async fn open(&self, protocol: &'static str) -> io::Result<Stream> {
        self.control.open(self.peer, protocol).await
    }
}

async fn stream_test(remote: &Remote, options: &Options) -> Outcome {
    match options.test.as_str() {
        "perf-upload" => perf(remote, options.bytes, 0).await,
        "perf-download" => perf(remote, 0, options.bytes).await,
        "streams" => test_streams(remote, options.count).await,
        "half-close" => test_half_close(remote).await,
        "reset-remote" => test_reset_remote(remote).await,
        "reset-local" => test_reset_local(remote).await,
        _ => unreachable!("not in TESTS"),
    }
}

async fn perf(remote: &Remote, send: u64, receive: u64) -> Outcome {
    let start = Instant::now();
    let mut stream = remote.open(PERF).await?;
    stream.write_all(&receive.to_be_bytes()).await?;
    write_zeros(&mut stream, send).await?;
    stream.close().await?;
    let received = drain(&mut stream).await?;
    if received != receive {
        return Err(format!("received {received} bytes instead of {receive}").into());
    }
    Ok(json!({"bytes": send + receive, "seconds": start.elapsed().as_secs_f64()}))
}

/// Holds all streams open at once. Each writes as soon as it is open: a stack
/// may acknowledge a stream only when it answers on it, and the unacknowledged
/// ones are limited.
async fn test_streams(remote: &Remote, count: u64) -> Outcome {
    let opened = join_all((0..count).map(async |i| {
        let message = Sha256::digest(i.to_be_bytes());
        let mut stream = remote.open(ECHO).await?;
        exchange(&mut stream, &message).await?;
        io::Result::Ok(stream)
    }))
    .await;
    let failures = opened.iter().filter(|stream| stream.is_err()).count();
    if let Some(Err(error)) = opened.iter().find(|stream| stream.is_err()) {
        return Err(format!("{failures} streams failed, the first: {error}").into());
    }
    try_join_all(opened.into_iter().flatten().map(close_and_expect_eof)).await?;
    Ok(json!({"streams": count}))
}

async fn exchange(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await?;
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).await?;
    if echo != message {
        return Err(io::Error::other("the echo differs"));
    }
    Ok(())
}

async fn close_and_expect_eof(mut stream: Stream) -> io::Result<()> {
    stream.close().await?;
    match drain(&mut stream).await? {
        0 => Ok(()),
        n => Err(io::Error::other(format!("{n} bytes after the echo"))),
    }
}

async fn test_half_close(remote: &Remote) -> Outcome {
    let data: Vec<u8> = (0..1usize << 20).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut stream = remote.open(HALF_CLOSE).await?;
    stream.write_all(&data).await?;
    stream.close().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let expected = format!("{} {:x}", data.len(), Sha256::digest(&data));
    if answer != expected {
        return Err(format!("answered {answer:?} instead of {expected:?}").into());
    }
    Ok(json!({"answer": answer}))
}

async fn test_reset_remote(remote: &Remote) -> Outcome {
    let mut stream = remote.open(RESET).await?;
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    match stream.read(&mut [0]).await {
        Err(error) => Ok(json!({"readError": error.to_string()})),
        // Both muxers read a reset as EOF. The write side tells the two
        // apart: it is still open after a FIN, but not after a reset.
        Ok(0) => match stream.write_all(&[2]).await {
            Err(error) => Ok(json!({"writeError": error.to_string()})),
            Ok(()) => Err("expected a reset, the remote closed the stream".into()),
        },
        Ok(_) => Err("expected a reset, the remote sent data".into()),
    }
}

async fn test_reset_local(remote: &Remote) -> Outcome {
    let mut stream = remote.open(ECHO).await?;
    exchange(&mut stream, &[0]).await?;
    drop(stream); // not closed before, so this resets it

    let mut stream = remote.open(ECHO).await?;
    exchange(&mut stream, &[1]).await?;
    close_and_expect_eof(stream).await?;
    Ok(json!({}))
}
