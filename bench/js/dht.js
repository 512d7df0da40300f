// Nodes of a DHT in one process, for the benchmarks of it. The contract is described in ../README.md.

import { randomBytes } from "node:crypto"
import { identify } from "@libp2p/identify"
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht"
import { noise } from "@libp2p/noise"
import { ping } from "@libp2p/ping"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"
import { limits, unlimited } from "./node.js"

const K = 20
const ALPHA = 10

/** Values under /bench/ are good as they are. */
const rules = { validators: { bench: async () => {} }, selectors: { bench: () => 0 } }

async function createDhtNode() {
  const node = await createLibp2p({
    ...limits,
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ ...unlimited, maxEarlyStreams: Infinity })],
    services: {
      identify: identify(unlimited),
      ping: ping(),
      dht: kadDHT({
        protocol: "/ipfs/lan/kad/1.0.0",
        peerInfoMapper: passthroughMapper,
        clientMode: false,
        kBucketSize: K,
        alpha: ALPHA,
        // one path, as the other stack has it; the default is as many as alpha, with alpha requests on each
        disjointPaths: 1,
        // as soon as it knows somebody, and not a second after the start
        initialQuerySelfInterval: 0,
        ...unlimited,
        ...rules
      })
    }
  })
  // it looks itself up when the first peer comes into its table
  const lookedUp = new Promise((resolve) => {
    node.services.dht.components.events.addEventListener("kad-dht:query:self", resolve, { once: true })
  })
  return { node, lookedUp }
}

/** How often it is looked whether the nodes have joined, in milliseconds. */
const lookEvery = 50

let nodes = []
/** Peers that each node must have in its table, and find. In small networks, half of them: nobody waits for the last. */
let wanted = 0
let turn = 0
const next = () => nodes[turn++ % nodes.length].node
const keys = []

export const dht = {
  "dht-join": async ({ count }) => {
    await Promise.all(nodes.map(({ node }) => node.stop()))
    keys.length = 0
    wanted = Math.min(K, Math.floor((count - 1) / 2))
    nodes = await Promise.all(Array.from({ length: count }, createDhtNode))
    const [first, ...others] = nodes
    const address = first.node.getMultiaddrs()[0]
    const started = performance.now()
    for (const { node } of others) {
      await node.dial(address)
    }
    await Promise.all(nodes.map(({ lookedUp }) => lookedUp))
    while (nodes.some(({ node }) => node.services.dht.routingTable.size < wanted)) {
      await new Promise((resolve) => setTimeout(resolve, lookEvery))
    }
    return { count, seconds: (performance.now() - started) / 1000 }
  },

  "dht-put": ({ seconds, size }) =>
    repeat(seconds, async () => {
      const key = Buffer.from(`/bench/${randomBytes(16).toString("hex")}`)
      await next().contentRouting.put(key, randomBytes(size))
      keys.push(key)
    }),

  // fails when there is none
  "dht-get": ({ seconds }) =>
    repeat(seconds, () => next().contentRouting.get(keys[turn % keys.length], { useCache: false })),

  "dht-lookup": ({ seconds }) =>
    repeat(seconds, async () => {
      let found = 0
      for await (const _ of next().peerRouting.getClosestPeers(randomBytes(32), { useCache: false })) {
        found++
      }
      if (found < wanted) {
        throw new Error(`only ${found} peers were found`)
      }
    })
}

/** One after the other, at least one. */
async function repeat(seconds, once) {
  const started = performance.now()
  let count = 0
  do {
    await once()
    count++
  } while (performance.now() < started + seconds * 1000)
  return { count, seconds: (performance.now() - started) / 1000 }
}
