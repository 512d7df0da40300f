// js-libp2p under the transport contract of libp2p's unified tests, and its
// older form: variables in, Redis between, results on standard output.

import "./node20.js"
import { identify } from "@libp2p/identify"
import { mplex } from "@libp2p/mplex"
import { noise } from "@libp2p/noise"
import { ping } from "@libp2p/ping"
import { tcp } from "@libp2p/tcp"
import { tls } from "@libp2p/tls"
import { yamux } from "@libp2p/yamux"
import { multiaddr } from "@multiformats/multiaddr"
import { createLibp2p } from "libp2p"
import { createClient } from "redis"

const env = process.env
const legacy = env.IS_DIALER == null
const get = (unified, old) => (legacy ? env[old] : env[unified])
const isDialer = get("IS_DIALER", "is_dialer") === "true"
const key = legacy ? "listenerAddr" : `${env.TEST_KEY}_listener_multiaddr`
const seconds = get("TEST_TIMEOUT_SECS", "test_timeout_seconds") ?? "180"

const redis = createClient({ url: `redis://${get("REDIS_ADDR", "redis_addr")}` })
await redis.connect()
const node = await createLibp2p({
  addresses: { listen: isDialer ? [] : [`/ip4/${get("LISTENER_IP", "ip") ?? "0.0.0.0"}/tcp/0`] },
  transports: [tcp()],
  connectionEncrypters: [{ noise: noise(), tls: tls() }[get("SECURE_CHANNEL", "security")]],
  streamMuxers: [{ yamux: yamux(), mplex: mplex() }[get("MUXER", "muxer")]],
  connectionGater: { denyDialMultiaddr: async () => false },
  connectionMonitor: { enabled: false },
  services: { identify: identify(), ping: ping() }
})

if (isDialer) {
  const popped = await redis.sendCommand(["BLPOP", key, seconds])
  const address = multiaddr(popped[1])
  const began = performance.now()
  await node.dial(address)
  const pingMs = await node.services.ping.ping(address)
  const handshakeMs = performance.now() - began
  console.log(
    legacy
      ? JSON.stringify({ handshakePlusOneRTTMillis: handshakeMs, pingRTTMilllis: pingMs })
      : `latency:\n  handshake_plus_one_rtt: ${handshakeMs}\n  ping_rtt: ${pingMs}\n  unit: ms`
  )
  process.exit(0)
}
const isLoopback = (address) => address.toString().includes("/127.0.0.1/")
const [address] = node.getMultiaddrs().toSorted((a, b) => Number(isLoopback(a)) - Number(isLoopback(b)))
await redis.sendCommand(["DEL", key])
await redis.sendCommand(["RPUSH", key, address.toString()])
