//! The rust-libp2p side of the benchmarks. The contract is described in
//! ../../../../bench/README.md. No identify and no ping.

use std::{
    collections::HashMap,
    error::Error,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    channel::{mpsc, oneshot},
    future::try_join_all,
};
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, SwarmBuilder,
    core::upgrade::Version,
    multiaddr::Protocol,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    task::JoinHandle,
};

use crate::{
    MAX_STREAMS, Options, fatal, keypair,
    serve::{drain, echo},
    streams::{Behaviour, Control},
    transport,
};

const ECHO: &str = "/bench/echo/1.0.0";
const SINK: &str = "/bench/sink/1.0.0";
const SOURCE: &str = "/bench/source/1.0.0";
const BLOCK: usize = 64 * 1024;

type Failure = Box<dyn Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

pub async fn bench(role: &str, options: Options) {
    let listen = role == "listen";
    let (node, address) = Node::start(&options, listen).await.unwrap_or_else(|e| fatal(e));
    let mut bencher = Bencher { options, nodes: vec![node], held: Vec::new() };
    match address {
        Some(address) => println!("{}", json!({"event": "ready", "address": address})),
        None => println!("{}", json!({"event": "ready"})),
    }
    let (sender, mut lines) = mpsc::unbounded();
    tokio::spawn(async move {
        let mut input = BufReader::new(stdin()).lines();
        while let Ok(Some(line)) = input.next_line().await {
            drop(sender.unbounded_send(line));
        }
        exit(0); // what is still open is not worth an orderly end
    });
    while let Some(line) = lines.next().await {
        let command: Value = serde_json::from_str(&line).unwrap_or_else(|e| fatal(e));
        let id = &command["id"];
        match bencher.run(&Command(&command)).await {
            Ok(ok) => println!("{}", json!({"id": id, "ok": ok})),
            Err(error) => println!("{}", json!({"id": id, "error": error.to_string()})),
        }
    }
}

struct Command<'a>(&'a Value);

impl Command<'_> {
    fn number(&self, name: &str, default: usize) -> usize {
        self.0[name].as_u64().map_or(default, |n| n as usize)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0["seconds"].as_f64().unwrap_or(1.0))
    }

    fn address(&self) -> &str {
        self.0["address"].as_str().unwrap_or("")
    }
}

enum Ask {
    Dial(Multiaddr, PeerId, oneshot::Sender<Result<(), String>>),
    Close(PeerId, oneshot::Sender<()>),
}

/// A swarm that runs by itself.
#[derive(Clone)]
struct Node {
    control: Control,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Node {
    async fn start(options: &Options, listen: bool) -> Outcome<(Self, Option<String>)> {
        let (streams, control) = Behaviour::new(&[ECHO, SINK, SOURCE], serve);
        let mut swarm = SwarmBuilder::with_existing_identity(keypair(options).map_err(|e| e.to_string())?)
            .with_tokio()
            .with_other_transport(|key| transport(key, options))?
            .with_behaviour(|_| streams)?
            .with_swarm_config(|config| {
                config
                    .with_idle_connection_timeout(Duration::from_secs(24 * 3600))
                    .with_max_negotiating_inbound_streams(MAX_STREAMS)
                    .with_substream_upgrade_protocol_override(Version::V1Lazy)
            })
            .build();
        let mut address = None;
        if listen {
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
            while address.is_none() {
                if let SwarmEvent::NewListenAddr { address: at, .. } = swarm.select_next_some().await {
                    address = Some(format!("{at}/p2p/{}", swarm.local_peer_id()));
                }
            }
        }
        let (asks, asked) = mpsc::unbounded();
        tokio::spawn(drive(swarm, asked));
        Ok((Self { control, asks }, address))
    }

    async fn dial(&self, address: &str) -> Outcome<Remote> {
        let address: Multiaddr = address.parse()?;
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err("the address must end with /p2p/PEER_ID".into());
        };
        let (sender, done) = oneshot::channel();
        self.asks.unbounded_send(Ask::Dial(address, peer, sender))?;
        done.await??;
        Ok(Remote { node: self.clone(), peer })
    }
}

async fn drive(mut swarm: Swarm<Behaviour>, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let mut dialing: HashMap<ConnectionId, oneshot::Sender<Result<(), String>>> = HashMap::new();
    let mut closing: HashMap<PeerId, oneshot::Sender<()>> = HashMap::new();
    loop {
        tokio::select! {
            ask = asked.next() => match ask {
                Some(Ask::Dial(_, peer, done)) if swarm.is_connected(&peer) => drop(done.send(Ok(()))),
                Some(Ask::Dial(address, peer, done)) => {
                    let dial = DialOpts::peer_id(peer).addresses(vec![address]).build();
                    let id = dial.connection_id();
                    match swarm.dial(dial) {
                        Ok(()) => drop(dialing.insert(id, done)),
                        Err(error) => drop(done.send(Err(error.to_string()))),
                    }
                }
                Some(Ask::Close(peer, done)) => {
                    closing.insert(peer, done);
                    if swarm.disconnect_peer_id(peer).is_err() {
                        closing.remove(&peer);
                    }
                }
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    if let Some(done) = dialing.remove(&connection_id) {
                        drop(done.send(Ok(())));
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(done) = dialing.remove(&connection_id) {
                        drop(done.send(Err(error.to_string())));
                    }
                }
                SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                    drop(closing.remove(&peer_id));
                }
                _ => {}
            }
        }
    }
}

/// A connection.
#[derive(Clone)]
struct Remote {
    node: Node,
    peer: PeerId,
}

impl Remote {
    async fn open(&self, protocol: &'static str) -> Outcome<Stream> {
        Ok(self.node.control.open(self.peer, protocol).await?)
    }

    async fn open_source(&self, size: usize) -> Outcome<Stream> {
        let mut stream = self.open(SOURCE).await?;
        stream.write_all(&(size as u32).to_be_bytes()).await?;
        stream.flush().await?;
        Ok(stream)
    }

    async fn echo_once(&self, size: usize) -> Outcome<()> {
        let mut stream = self.open(ECHO).await?;
        exchange(&mut stream, &vec![0; size]).await?;
        stream.close().await?;
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        let (sender, done) = oneshot::channel();
        self.node.asks.unbounded_send(Ask::Close(self.peer, sender))?;
        let _ = done.await;
        Ok(())
    }
}

async fn exchange(stream: &mut Stream, message: &[u8]) -> Outcome<()> {
    stream.write_all(message).await?;
    stream.flush().await?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).await?;
    Ok(())
}

/// As often as the time allows, with so many at once.
async fn repeat<F: AsyncFn(usize) -> Outcome<()>>(command: &Command<'_>, concurrency: usize, once: F) -> Outcome<Value> {
    let started = Instant::now();
    let counts = try_join_all((0..concurrency).map(async |worker| {
        let mut count = 0u64;
        while started.elapsed() < command.duration() {
            once(worker).await?;
            count += 1;
        }
        Outcome::Ok(count)
    }))
    .await?;
    Ok(json!({"count": counts.iter().sum::<u64>(), "seconds": started.elapsed().as_secs_f64()}))
}

struct Bencher {
    options: Options,
    nodes: Vec<Node>,
    held: Vec<Stream>,
}

impl Bencher {
    async fn run(&mut self, command: &Command<'_>) -> Outcome<Value> {
        let size = command.number("size", 32);
        let count = command.number("count", 1);
        let concurrency = command.number("concurrency", 1);
        let address = command.address();
        let first = self.nodes[0].clone();
        match command.0["run"].as_str().unwrap_or("") {
            "upload" => self.upload(command).await,
            "download" => download(&first.dial(address).await?, command).await,
            "slow-reader" => slow_reader(&first.dial(address).await?, command).await,
            "first-byte" => {
                let started = Instant::now();
                let remote = first.dial(address).await?;
                remote.echo_once(1).await?;
                let seconds = started.elapsed().as_secs_f64();
                remote.close().await?;
                Ok(json!({"seconds": seconds}))
            }
            "connections" => {
                self.have(concurrency).await?;
                let nodes = &self.nodes;
                repeat(command, concurrency, async |worker| {
                    let remote = nodes[worker].dial(address).await?;
                    remote.echo_once(1).await?;
                    remote.close().await
                })
                .await
            }
            "streams" => {
                let remote = first.dial(address).await?;
                repeat(command, concurrency, async |_| remote.echo_once(size).await).await
            }
            "ping" => {
                let mut stream = first.dial(address).await?.open(ECHO).await?;
                let message = vec![0; size];
                let started = Instant::now();
                let mut count = 0;
                while started.elapsed() < command.duration() {
                    exchange(&mut stream, &message).await?;
                    count += 1;
                }
                let seconds = started.elapsed().as_secs_f64();
                stream.close().await?;
                Ok(json!({"count": count, "seconds": seconds}))
            }
            "hold" => {
                for _ in 0..count {
                    let (node, _) = Node::start(&self.options, false).await?;
                    node.dial(address).await?.echo_once(1).await?;
                    self.nodes.push(node);
                }
                Ok(json!({}))
            }
            "hold-streams" => {
                let remote = first.dial(address).await?;
                for _ in 0..count {
                    let mut stream = remote.open(ECHO).await?;
                    exchange(&mut stream, &[1]).await?;
                    self.held.push(stream);
                }
                Ok(json!({}))
            }
            "memory" => memory(),
            other => Err(format!("no such command: {other}").into()),
        }
    }

    async fn have(&mut self, count: usize) -> Outcome<()> {
        while self.nodes.len() < count {
            let (node, _) = Node::start(&self.options, false).await?;
            self.nodes.push(node);
        }
        Ok(())
    }

    async fn upload(&mut self, command: &Command<'_>) -> Outcome<Value> {
        let connections = command.number("connections", 1);
        let size = command.number("size", BLOCK);
        let duration = command.duration();
        self.have(connections).await?;
        let mut streams = Vec::new();
        for node in &self.nodes[..connections] {
            let remote = node.dial(command.address()).await?;
            for _ in 0..command.number("streams", 1) {
                streams.push(remote.open(SINK).await?);
            }
        }
        let started = Instant::now();
        let uploads: Vec<JoinHandle<Outcome<u64>>> = streams
            .into_iter()
            .map(|stream| tokio::spawn(upload_one(stream, size, started, duration)))
            .collect();
        let mut sent = 0;
        for upload in uploads {
            sent += upload.await??;
        }
        Ok(json!({"count": sent, "seconds": started.elapsed().as_secs_f64()}))
    }
}

async fn upload_one(mut stream: Stream, size: usize, started: Instant, duration: Duration) -> Outcome<u64> {
    let chunk = vec![0; size];
    let mut sent = 0;
    while started.elapsed() < duration {
        stream.write_all(&chunk).await?;
        sent += size as u64;
    }
    stream.close().await?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await?;
    match u64::from_be_bytes(answer) {
        received if received == sent => Ok(sent),
        received => Err(format!("sent {sent} bytes, the listener has {received}").into()),
    }
}

async fn download(remote: &Remote, command: &Command<'_>) -> Outcome<Value> {
    let started = Instant::now();
    let mut stream = remote.open_source(command.number("size", BLOCK)).await?;
    let mut buffer = vec![0; BLOCK];
    let mut count = 0;
    while started.elapsed() < command.duration() {
        match stream.read(&mut buffer).await? {
            0 => return Err("the stream ended".into()),
            n => count += n,
        }
    }
    Ok(json!({"count": count, "seconds": started.elapsed().as_secs_f64()}))
}

async fn slow_reader(remote: &Remote, command: &Command<'_>) -> Outcome<Value> {
    let size = command.number("size", BLOCK);
    let seven = async || -> Outcome<f64> {
        let started = Instant::now();
        let count = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        for _ in 0..7 {
            let mut stream = remote.open_source(size).await?;
            let count = count.clone();
            readers.push(tokio::spawn(async move {
                let mut buffer = vec![0; BLOCK];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    count.fetch_add(n as u64, Ordering::Relaxed);
                }
            }));
        }
        tokio::time::sleep(command.duration()).await;
        let rate = count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        for reader in readers {
            reader.abort(); // drops its stream, which resets it
            drop(reader.await);
        }
        Ok(rate)
    };
    let alone = seven().await?;
    let mut slow = remote.open_source(size).await?;
    let reader = tokio::spawn(async move {
        let mut buffer = vec![0; BLOCK];
        while let Ok(1..) = slow.read(&mut buffer).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let beside = seven().await?;
    reader.abort();
    Ok(json!({"alone": alone, "beside": beside}))
}

/// What is resident now, and was at the most.
fn memory() -> Outcome<Value> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bytes = |field: &str| -> u64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    Ok(json!({"bytes": bytes("VmRSS:"), "peak": bytes("VmHWM:")}))
}

fn serve(protocol: &str, mut stream: Stream) {
    let protocol = protocol.to_owned();
    tokio::spawn(async move {
        match protocol.as_str() {
            SINK => {
                let received = drain(&mut stream).await?;
                stream.write_all(&received.to_be_bytes()).await?;
                stream.close().await
            }
            SOURCE => {
                let mut size = [0; 4];
                stream.read_exact(&mut size).await?;
                let block = vec![0; (u32::from_be_bytes(size) as usize).min(1 << 20)];
                loop {
                    stream.write_all(&block).await?;
                }
            }
            _ => echo(stream).await,
        }
    });
}
