/**
 * Every metric of a node: its name, its labels and what it means. Nothing else
 * is exported, and docs/observability.md lists the same.
 *
 * Where go-libp2p counts the same thing, name and labels are its own, so that
 * its dashboards and alerts read this node too. No label names a remote peer,
 * an address, or anything else that a remote chooses.
 */

export interface Definition {
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly help: string
  readonly labels: ReadonlyArray<string>
  /** Upper bounds of a histogram, in the unit of its name. */
  readonly buckets: ReadonlyArray<number>
}

const counter = (name: string, help: string, labels: ReadonlyArray<string> = []): Definition => ({
  name,
  type: "counter",
  help,
  labels,
  buckets: []
})
const gauge = (name: string, help: string, labels: ReadonlyArray<string> = []): Definition => ({
  ...counter(name, help, labels),
  type: "gauge"
})

/** From a loopback round trip to a deadline. */
const latencies = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** From a moment to a week. */
const lifetimes = [1, 10, 60, 300, 1800, 3600, 21_600, 86_400, 604_800]

const histogram = (
  name: string,
  help: string,
  labels: ReadonlyArray<string> = [],
  buckets: ReadonlyArray<number> = latencies
): Definition => ({ ...counter(name, help, labels), type: "histogram", buckets })

const connectionLabels = ["dir", "transport", "security", "muxer", "early_muxer", "ip_version"]

// ---- the swarm

export const info = gauge("libp2p_info", "Always 1; its labels say which node of which version this is", [
  "version",
  "peer"
])
export const connections = gauge("libp2p_swarm_connections", "Open connections", [
  "dir",
  "transport",
  "security",
  "muxer"
])
export const connectionsOpened = counter(
  "libp2p_swarm_connections_opened_total",
  "Connections that were secured, multiplexed and taken on",
  connectionLabels
)
export const connectionsClosed = counter(
  "libp2p_swarm_connections_closed_total",
  "Of those, the ones that have ended",
  [...connectionLabels]
)
export const connectionsEnded = counter(
  "libp2p_swarm_connections_ended_total",
  "Ended connections by who ended them: local, remote, or error for a fault or a lost network",
  ["by"]
)
export const connectionDuration = histogram(
  "libp2p_swarm_connection_duration_seconds",
  "How long a connection was open",
  ["dir", "transport"],
  lifetimes
)
export const handshakeLatency = histogram(
  "libp2p_swarm_handshake_latency_seconds",
  "From a raw connection to a secured and multiplexed one",
  ["transport", "security", "muxer", "early_muxer", "ip_version"]
)
export const secured = histogram("libp2p_swarm_secure_seconds", "The handshake of a security, once it was agreed on", [
  "security",
  "dir",
  "outcome"
])
export const multiplexed = histogram("libp2p_swarm_multiplex_seconds", "The start of a muxer, once it was agreed on", [
  "muxer",
  "dir",
  "outcome"
])
export const dialLatency = histogram(
  "libp2p_swarm_dial_latency_seconds",
  "A whole dial of a peer, by outcome and by how many of its addresses were tried",
  ["outcome", "num_dials"]
)
export const dialsFailed = counter("libp2p_swarm_dials_failed_total", "Dials that led to no connection, by reason", [
  "error"
])
export const attempts = histogram(
  "libp2p_swarm_attempt_seconds",
  "A dial of one address, to a usable connection or not",
  ["transport", "outcome"]
)
export const dialErrors = counter("libp2p_swarm_dial_errors_total", "Addresses that could not be dialled, by reason", [
  "transport",
  "error",
  "ip_version"
])
export const inboundFailed = counter(
  "libp2p_swarm_inbound_failed_total",
  "Inbound connections that were refused, or failed before they were usable, by reason",
  ["error"]
)
export const streamsOpened = counter("libp2p_swarm_streams_opened_total", "Streams that agreed on a protocol", [
  "dir",
  "protocol"
])
export const streamsFailed = counter("libp2p_swarm_streams_failed_total", "Streams that agreed on none, by reason", [
  "dir",
  "error"
])
export const negotiation = histogram(
  "libp2p_swarm_stream_negotiation_seconds",
  "From a new stream to an agreed protocol; next to nothing when one protocol is proposed",
  ["dir"]
)
export const streamsRefused = counter(
  "libp2p_swarm_streams_refused_total",
  "Inbound streams that were refused: unknown protocol, or over a limit"
)
export const handlersFailed = counter(
  "libp2p_swarm_handlers_failed_total",
  "Protocol handlers that failed or died (outcome), and whose stream was reset",
  ["protocol", "outcome"]
)
export const received = counter(
  "libp2p_swarm_received_bytes_total",
  "Bytes read from raw connections, encryption and handshakes included"
)
export const sent = counter(
  "libp2p_swarm_sent_bytes_total",
  "Bytes written to raw connections, encryption and handshakes included"
)
export const listenAddresses = gauge("libp2p_swarm_listen_addresses", "Addresses that are listened on")

// ---- limits

export const limit = gauge(
  "libp2p_rcmgr_limit",
  "The limit of a scope; of each peer, protocol, … where there are many",
  ["scope", "resource"]
)
export const use = gauge(
  "libp2p_rcmgr_use",
  "In use now; where there are many scopes of a kind, in the fullest of them",
  ["scope", "resource"]
)
export const peak = gauge("libp2p_rcmgr_peak", "The most that was in use, in the scopes that exist now", [
  "scope",
  "resource"
])
export const refused = counter("libp2p_rcmgr_refused_total", "What a limit has refused", ["scope", "resource"])
export const streamsOfProtocol = gauge("libp2p_rcmgr_streams", "Open streams of a protocol", [
  "dir",
  "scope",
  "protocol"
])
export const scopes = gauge("libp2p_rcmgr_scopes", "Scopes that exist: grows and falls with the open connections")

// ---- the rest of the node

export const watermark = gauge(
  "libp2p_connmgr_watermark",
  "The watermarks (low, high) between which connections are kept",
  ["level"]
)
export const trimmed = counter("libp2p_connmgr_trimmed_total", "Connections closed to get back to the low watermark")
export const protectedPeers = gauge("libp2p_connmgr_protected_peers", "Peers whose connections are never trimmed")
export const peers = gauge("libp2p_peerstore_peers", "Peers that the peer store knows")
export const identifyDuration = histogram(
  "libp2p_identify_seconds",
  "From a connection to knowing what its peer says of itself",
  ["outcome"]
)
export const identifyFailed = counter("libp2p_identify_failed_total", "Peers that could not be identified, by reason", [
  "error"
])
export const pushes = counter("libp2p_identify_identify_push_total", "Identify pushes received (inbound)", ["dir"])
export const announced = gauge("libp2p_identify_addrs_count", "Addresses that this node tells others")
export const observed = gauge("libp2p_identify_observed_addrs", "Addresses at which others see this node", [
  "confirmed"
])
export const protocols = gauge("libp2p_identify_protocols_count", "Protocols that have a handler")
export const pingRtt = histogram("libp2p_ping_rtt_seconds", "Round trips of pings that this node sent")
export const pingFailed = counter("libp2p_ping_failed_total", "Pings without an answer, by reason", ["error"])
export const actors = gauge("libp2p_actors", "Living actors of a kind: swarm, listener, connection, …", ["actor"])
export const mailbox = gauge("libp2p_actor_mailbox_depth", "Messages that wait, in the fullest mailbox of a kind", [
  "actor"
])
export const actorsRestarted = counter("libp2p_actor_restarts_total", "Actors that failed and were started again", [
  "actor"
])
export const actorsFailed = counter("libp2p_actor_failures_total", "Actors that failed and ended", ["actor"])

// ---- the process, under the names of prom-client, which Node's dashboards use

export const resident = gauge("process_resident_memory_bytes", "Memory of the process")
export const cpu = counter("process_cpu_seconds_total", "Processor time of the process, of user and system")
export const started = gauge("process_start_time_seconds", "When the process started, in seconds since 1970")
export const heapTotal = gauge("nodejs_heap_size_total_bytes", "Heap that V8 has")
export const heapUsed = gauge("nodejs_heap_size_used_bytes", "Heap that is in use")
export const external = gauge("nodejs_external_memory_bytes", "Memory outside the heap, buffers included")
export const lagMean = gauge(
  "nodejs_eventloop_lag_mean_seconds",
  "How late the event loop was since the last scrape, on average"
)
export const lagP99 = gauge("nodejs_eventloop_lag_p99_seconds", "The same, in the worst hundredth")
export const lagMax = gauge("nodejs_eventloop_lag_max_seconds", "The same, at worst")

/** Told by the node itself, wherever it runs. */
export const ofNode: ReadonlyArray<Definition> = [
  info,
  connections,
  connectionsOpened,
  connectionsClosed,
  connectionsEnded,
  connectionDuration,
  handshakeLatency,
  secured,
  multiplexed,
  dialLatency,
  dialsFailed,
  attempts,
  dialErrors,
  inboundFailed,
  streamsOpened,
  streamsFailed,
  negotiation,
  streamsRefused,
  handlersFailed,
  received,
  sent,
  listenAddresses,
  limit,
  use,
  peak,
  refused,
  streamsOfProtocol,
  scopes,
  watermark,
  trimmed,
  protectedPeers,
  peers,
  identifyDuration,
  identifyFailed,
  pushes,
  announced,
  observed,
  protocols,
  pingRtt,
  pingFailed,
  actors,
  mailbox,
  actorsRestarted,
  actorsFailed
]

/** Added by the command line, which knows its process. */
export const ofProcess: ReadonlyArray<Definition> = [
  resident,
  cpu,
  started,
  heapTotal,
  heapUsed,
  external,
  lagMean,
  lagP99,
  lagMax
]

export const all: ReadonlyArray<Definition> = [...ofNode, ...ofProcess]
