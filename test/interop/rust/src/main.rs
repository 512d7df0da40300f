//! The rust-libp2p side of the interoperability suite.
//! The command line is described in ../README.md.

mod bench;
mod dht;
mod dial;
mod serve;
mod streams;

use std::{collections::HashMap, error::Error, process::exit, str::FromStr, time::Duration};

use futures::StreamExt;
use libp2p::{
    PeerId, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identify,
    identity::Keypair,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, tls, yamux,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, stdin},
    signal::unix::{SignalKind, signal},
};

const USAGE: &str = "usage:
  peer listen --transport T --security S --muxer M --listen ADDR [--seed N] [--key-type K]
  peer dial --transport T --security S --muxer M --addr ADDR --test NAME [--bytes N] [--count N]
  peer bench listen|dial [--security S]
  peer dht --listen ADDR [--mode server|client]
  peer supports
  peer --version-info";

/// What `peer supports` prints; every combination works. rust-libp2p reads
/// RSA keys but does not generate them.
const SUPPORTS: [(&str, &[&str]); 4] = [
    ("transports", &["tcp"]),
    ("securities", &["noise", "tls"]),
    ("muxers", &["yamux", "mplex"]),
    ("keyTypes", &["ed25519", "secp256k1", "ecdsa"]),
];

const FLAGS: [&str; 10] = [
    "transport",
    "security",
    "muxer",
    "key-type",
    "seed",
    "listen",
    "addr",
    "test",
    "bytes",
    "count",
];

/// The most yamux allows with its fixed receive window of 1 GiB.
const MAX_STREAMS: usize = 4096;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    streams: streams::Behaviour,
}

pub struct Options {
    security: String,
    muxer: String,
    key_type: String,
    seed: Option<u64>,
    listen: String,
    addr: String,
    test: String,
    bytes: u64,
    count: u64,
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("listen") => {
            let options = options(&args[1..]);
            let (swarm, _) = new_swarm(&options).unwrap_or_else(|e| fatal(e));
            listen(swarm, &options.listen).await;
        }
        Some("dial") => {
            let options = options(&args[1..]);
            if !dial::TESTS.contains(&options.test.as_str()) {
                fatal(format!("unknown test {:?}", options.test));
            }
            let (swarm, control) = new_swarm(&options).unwrap_or_else(|e| fatal(e));
            let passed = dial::dial(swarm, control, options).await;
            exit(if passed { 0 } else { 1 });
        }
        Some("bench") => match args.get(1).map(String::as_str) {
            Some(role @ ("listen" | "dial")) => bench::bench(role, options(&args[2..])).await,
            _ => fatal(USAGE),
        },
        Some("dht") => dht::dht(&args[1..]).await,
        Some("supports") => println!("{}", json!(HashMap::from(SUPPORTS))),
        Some("--version-info") => {
            println!("{}", json!({"stack": "rust-libp2p", "version": version()}));
        }
        _ => fatal(USAGE),
    }
}

fn options(args: &[String]) -> Options {
    let mut flags = HashMap::new();
    for pair in args.chunks(2) {
        match pair {
            [flag, value] => match flag.strip_prefix("--") {
                Some(name) if FLAGS.contains(&name) => flags.insert(name, value.as_str()),
                _ => fatal(USAGE),
            },
            _ => fatal(USAGE),
        };
    }
    let supported = |kind: usize, flag: &str| {
        let (kind, values) = SUPPORTS[kind];
        let value = flags.get(flag).copied().unwrap_or(values[0]);
        if !values.contains(&value) {
            fatal(format!(
                "rust-libp2p does not support {value:?} ({kind}: {})",
                values.join(", ")
            ));
        }
        value.to_owned()
    };
    supported(0, "transport");
    let options = Options {
        security: supported(1, "security"),
        muxer: supported(2, "muxer"),
        key_type: supported(3, "key-type"),
        seed: flags.get("seed").map(|seed| number(seed)),
        listen: flags
            .get("listen")
            .unwrap_or(&"/ip4/127.0.0.1/tcp/0")
            .to_string(),
        addr: flags.get("addr").unwrap_or(&"").to_string(),
        test: flags.get("test").unwrap_or(&"").to_string(),
        bytes: flags.get("bytes").map_or(64 << 20, |bytes| number(bytes)),
        count: flags.get("count").map_or(1000, |count| number(count)),
    };
    if options.seed.is_some() && options.key_type != "ed25519" {
        fatal("--seed needs --key-type ed25519");
    }
    options
}

fn number<T: FromStr>(value: &str) -> T {
    value
        .parse()
        .unwrap_or_else(|_| fatal(format!("not a number: {value}")))
}

fn new_swarm(options: &Options) -> Result<(Swarm<Behaviour>, streams::Control), Box<dyn Error>> {
    let key = keypair(options)?;
    let (streams, control) = streams::Behaviour::new(&serve::PROTOCOLS, serve::serve);
    let ping_interval = match (options.test.as_str(), options.muxer.as_str()) {
        ("ping", _) => Duration::from_millis(100),
        // rust-libp2p's mplex only queues the reset of a dropped stream; it
        // goes out with the next activity on the connection.
        (_, "mplex") => Duration::from_millis(500),
        _ => Duration::from_secs(15),
    };
    let behaviour = Behaviour {
        ping: ping::Behaviour::new(ping::Config::new().with_interval(ping_interval)),
        identify: identify::Behaviour::new(
            identify::Config::new("ipfs/0.1.0".into(), key.public())
                .with_agent_version("interop-rust".into()),
        ),
        streams,
    };
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|key| transport(key, options))?
        .with_behaviour(|_| behaviour)?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(24 * 3600))
                .with_max_negotiating_inbound_streams(MAX_STREAMS)
        })
        .build();
    Ok((swarm, control))
}

/// TCP with exactly one security protocol and one muxer.
fn transport(
    key: &Keypair,
    options: &Options,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn Error + Send + Sync>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default()).upgrade(Version::V1Lazy);
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let mut mplex = libp2p_mplex::Config::new();
    mplex.set_max_num_streams(MAX_STREAMS);
    let noise = noise::Config::new(key)?;
    let tls = tls::Config::new(key)?;
    Ok(match (options.security.as_str(), options.muxer.as_str()) {
        ("noise", "yamux") => tcp.authenticate(noise).multiplex(yamux).boxed(),
        ("noise", _) => tcp.authenticate(noise).multiplex(mplex).boxed(),
        (_, "yamux") => tcp.authenticate(tls).multiplex(yamux).boxed(),
        _ => tcp.authenticate(tls).multiplex(mplex).boxed(),
    })
}

fn keypair(options: &Options) -> Result<Keypair, Box<dyn Error>> {
    if let Some(seed) = options.seed {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        return Ok(Keypair::ed25519_from_bytes(bytes)?);
    }
    Ok(match options.key_type.as_str() {
        "secp256k1" => Keypair::generate_secp256k1(),
        "ecdsa" => Keypair::generate_ecdsa(),
        _ => Keypair::generate_ed25519(),
    })
}

async fn listen(mut swarm: Swarm<Behaviour>, address: &str) {
    let address = address.parse().unwrap_or_else(|e| fatal(e));
    swarm.listen_on(address).unwrap_or_else(|e| fatal(e));
    let peer = *swarm.local_peer_id();
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler");
    let mut input = stdin();
    let mut buffer = [0; 64];
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => println!("{}", json!({
                    "event": "listening",
                    "peer": peer.to_string(),
                    "addresses": [format!("{address}/p2p/{peer}")],
                })),
                SwarmEvent::IncomingConnectionError { error, .. } => eprintln!("incoming: {error}"),
                SwarmEvent::ConnectionClosed { cause: Some(cause), .. } => eprintln!("closed: {cause}"),
                _ => {}
            },
            read = input.read(&mut buffer) => if !matches!(read, Ok(1..)) { break },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    exit(0); // the thread that reads stdin would hold up a normal return
}

/// The locked version of the libp2p crate.
fn version() -> &'static str {
    include_str!("../Cargo.lock")
        .split("name = \"libp2p\"\nversion = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown")
}

fn fatal(message: impl ToString) -> ! {
    eprintln!("{}", message.to_string());
    exit(2);
}
