//! A node of the DHT that does what it is told on its standard input.
//! The contract is described in ../../README.md.

use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    process::exit,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify,
    kad::{
        Behaviour as Kademlia, Config, Event as KadEvent, GetClosestPeersOk, GetProvidersOk,
        GetRecordOk, InboundRequest, Mode, QueryId, QueryResult, Quorum, Record, RecordKey,
        StoreInserts,
        store::{MemoryStore, RecordStore},
    },
    multiaddr::Protocol,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::{fatal, keypair, options, transport};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: Kademlia<MemoryStore>,
}

/// A command whose query is under way.
struct Asked {
    id: Value,
    values: BTreeSet<Vec<u8>>,
    peers: BTreeSet<PeerId>,
    /// The peer of `find`.
    target: Option<PeerId>,
}

/// Values begin with "hello"; the best is the last in the order of their bytes.
fn valid(record: &Record) -> bool {
    !record.key.as_ref().starts_with(b"/example/") || record.value.starts_with(b"hello")
}

pub async fn dht(args: &[String]) {
    let mode = match args.iter().position(|arg| arg == "--mode") {
        Some(at) if args.get(at + 1).map(String::as_str) == Some("client") => Mode::Client,
        _ => Mode::Server,
    };
    let rest: Vec<String> = match args.iter().position(|arg| arg == "--mode") {
        Some(at) => [&args[..at], &args[(at + 2).min(args.len())..]].concat(),
        None => args.to_vec(),
    };
    let options = options(&rest);
    let mut swarm = start(&options, mode).unwrap_or_else(|e| fatal(e));
    swarm
        .listen_on(options.listen.parse().unwrap_or_else(|e| fatal(e)))
        .unwrap_or_else(|e| fatal(e));
    let peer = *swarm.local_peer_id();
    let mut lines = BufReader::new(stdin()).lines();
    let mut asked = HashMap::new();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => println!("{}", json!({
                    "event": "listening",
                    "peer": peer.to_string(),
                    "addresses": [format!("{address}/p2p/{peer}")],
                })),
                SwarmEvent::Behaviour(event) => happened(&mut swarm, &mut asked, event),
                _ => {}
            },
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let command: Value = serde_json::from_str(&line).unwrap_or_else(|e| fatal(e));
                    let id = command["id"].clone();
                    match run(&mut swarm, &command) {
                        Ok(Started::Done(ok)) => println!("{}", json!({"id": id, "ok": ok})),
                        Ok(Started::Query(query, target)) => {
                            asked.insert(query, Asked {
                                id,
                                values: BTreeSet::new(),
                                peers: BTreeSet::new(),
                                target,
                            });
                        }
                        Err(error) => println!("{}", json!({"id": id, "error": error.to_string()})),
                    }
                }
                _ => break,
            },
        }
    }
    exit(0); // the thread that reads stdin would hold up a normal return
}

fn start(options: &crate::Options, mode: Mode) -> Result<Swarm<Behaviour>, Box<dyn Error>> {
    let key = keypair(options)?;
    let peer = key.public().to_peer_id();
    let mut config = Config::new(StreamProtocol::new("/ipfs/lan/kad/1.0.0"));
    config
        .set_query_timeout(Duration::from_secs(30))
        .set_record_filtering(StoreInserts::FilterBoth);
    let mut kad = Kademlia::with_config(peer, MemoryStore::new(peer), config);
    kad.set_mode(Some(mode));
    let behaviour = Behaviour {
        identify: identify::Behaviour::new(
            identify::Config::new("ipfs/0.1.0".into(), key.public())
                .with_agent_version("interop-rust".into()),
        ),
        kad,
    };
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|key| transport(key, options))?
        .with_behaviour(|_| behaviour)?
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(Duration::from_secs(24 * 3600))
        })
        .build())
}

enum Started {
    Done(Value),
    Query(QueryId, Option<PeerId>),
}

fn run(swarm: &mut Swarm<Behaviour>, command: &Value) -> Result<Started, Failure> {
    let text = |name: &str| command[name].as_str().unwrap_or("").to_owned();
    let hash = || -> Result<RecordKey, Failure> {
        let hex = text("multihash");
        let bytes = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or(""), 16))
            .collect::<Result<Vec<u8>, _>>()?;
        Ok(RecordKey::from(bytes))
    };
    Ok(match command["run"].as_str() {
        Some("connect") => {
            let address: Multiaddr = text("address").parse()?;
            swarm.dial(address.clone())?;
            if let Some(Protocol::P2p(peer)) = address.iter().last() {
                swarm.behaviour_mut().kad.add_address(&peer, address);
            }
            Started::Done(json!({}))
        }
        Some("table") => {
            let peers: usize = swarm.behaviour_mut().kad.kbuckets().map(|b| b.num_entries()).sum();
            Started::Done(json!({ "peers": peers }))
        }
        Some("refresh") => {
            let own = *swarm.local_peer_id();
            Started::Query(swarm.behaviour_mut().kad.get_closest_peers(own), None)
        }
        Some("find") => {
            let target: PeerId = text("peer").parse()?;
            Started::Query(swarm.behaviour_mut().kad.get_closest_peers(target), Some(target))
        }
        Some("closest") => {
            let key = text("key").into_bytes();
            Started::Query(swarm.behaviour_mut().kad.get_closest_peers(key), None)
        }
        Some("put") => {
            let record = Record::new(text("key").into_bytes(), text("value").into_bytes());
            if !valid(&record) {
                return Err("it does not begin with hello".into());
            }
            Started::Query(swarm.behaviour_mut().kad.put_record(record, Quorum::One)?, None)
        }
        Some("get") => {
            let key = RecordKey::from(text("key").into_bytes());
            Started::Query(swarm.behaviour_mut().kad.get_record(key), None)
        }
        Some("provide") => {
            Started::Query(swarm.behaviour_mut().kad.start_providing(hash()?)?, None)
        }
        Some("providers") => Started::Query(swarm.behaviour_mut().kad.get_providers(hash()?), None),
        other => return Err(format!("unknown command {other:?}").into()),
    })
}

fn happened(swarm: &mut Swarm<Behaviour>, asked: &mut HashMap<QueryId, Asked>, event: BehaviourEvent) {
    match event {
        BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
            for address in info.listen_addrs {
                swarm.behaviour_mut().kad.add_address(&peer_id, address);
            }
        }
        BehaviourEvent::Kad(KadEvent::InboundRequest { request }) => match request {
            InboundRequest::PutRecord { record: Some(record), .. } if valid(&record) => {
                drop(swarm.behaviour_mut().kad.store_mut().put(record));
            }
            InboundRequest::AddProvider { record: Some(record) } => {
                drop(swarm.behaviour_mut().kad.store_mut().add_provider(record));
            }
            _ => {}
        },
        BehaviourEvent::Kad(KadEvent::OutboundQueryProgressed { id, result, step, .. }) => {
            let Some(query) = asked.get_mut(&id) else { return };
            let outcome = progressed(query, result);
            if step.last {
                let query = asked.remove(&id).expect("it is there");
                match outcome {
                    Ok(ok) => println!("{}", json!({"id": query.id, "ok": ok})),
                    Err(error) => println!("{}", json!({"id": query.id, "error": error})),
                }
            }
        }
        _ => {}
    }
}

/// What a query has come to, if this was its last step.
fn progressed(query: &mut Asked, result: QueryResult) -> Result<Value, String> {
    match result {
        QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
            if valid(&found.record) {
                query.values.insert(found.record.value);
            }
            value(query)
        }
        QueryResult::GetRecord(Ok(_)) => value(query),
        QueryResult::GetRecord(Err(error)) => value(query).map_err(|_| error.to_string()),
        QueryResult::PutRecord(put) => put.map(|_| json!({})).map_err(|error| error.to_string()),
        QueryResult::StartProviding(done) => {
            done.map(|_| json!({})).map_err(|error| error.to_string())
        }
        QueryResult::GetProviders(Ok(found)) => {
            if let GetProvidersOk::FoundProviders { providers, .. } = found {
                query.peers.extend(providers);
            }
            let peers: Vec<String> = query.peers.iter().map(PeerId::to_string).collect();
            Ok(json!({ "peers": peers }))
        }
        QueryResult::GetProviders(Err(error)) => Err(error.to_string()),
        QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => match query.target {
            Some(target) => peers
                .iter()
                .find(|info| info.peer_id == target)
                .map(|info| json!({ "addresses": info.addrs }))
                .ok_or_else(|| "not found".to_owned()),
            None => {
                let peers: Vec<String> = peers.iter().map(|info| info.peer_id.to_string()).collect();
                Ok(json!({ "peers": peers }))
            }
        },
        QueryResult::GetClosestPeers(Err(error)) => Err(error.to_string()),
        _ => Err("an answer to another question".to_owned()),
    }
}

fn value(query: &Asked) -> Result<Value, String> {
    let best = query.values.last().ok_or_else(|| "not found".to_owned())?;
    Ok(json!({ "value": String::from_utf8_lossy(best) }))
}
