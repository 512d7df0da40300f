// A node of the DHT that does what it is told on its standard input.
// The contract is described in ../README.md.

import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { identify, identifyPush } from "@libp2p/identify"
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht"
import { noise } from "@libp2p/noise"
import { peerIdFromString } from "@libp2p/peer-id"
import { ping } from "@libp2p/ping"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { multiaddr } from "@multiformats/multiaddr"
import { createLibp2p } from "libp2p"
import { CID } from "multiformats/cid"

const bytes = (text) => new TextEncoder().encode(text)
const text = (value) => new TextDecoder().decode(value)

/** Knows values that begin with "hello"; the best is the last in the order of their bytes. */
const example = {
  validate: async (key, value) => {
    if (!text(value).startsWith("hello")) {
      throw new Error("it does not begin with hello")
    }
  },
  select: (key, values) =>
    values.reduce((best, value, index) => (Buffer.compare(value, values[best]) > 0 ? index : best), 0)
}

export async function runDht(args, print) {
  const { values } = parseArgs({
    args,
    options: {
      listen: { type: "string", default: "/ip4/127.0.0.1/tcp/0" },
      mode: { type: "string", default: "server" }
    }
  })
  const node = await createLibp2p({
    addresses: { listen: [values.listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: {
      maxConnections: Infinity,
      inboundConnectionThreshold: Infinity,
      maxIncomingPendingConnections: Infinity
    },
    services: {
      identify: identify(),
      identifyPush: identifyPush(),
      ping: ping(),
      dht: kadDHT({
        protocol: "/ipfs/lan/kad/1.0.0",
        peerInfoMapper: passthroughMapper,
        clientMode: values.mode === "client",
        validators: { example: example.validate },
        selectors: { example: example.select }
      })
    }
  })
  print({ event: "listening", peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) })

  const run = async ({ run, address, peer, key, value, cid, count }) => {
    const signal = AbortSignal.timeout(30_000)
    switch (run) {
      case "connect":
        await node.dial(multiaddr(address), { signal })
        return {}
      case "table":
        return { peers: node.services.dht.routingTable.size }
      case "refresh":
        await node.services.dht.refreshRoutingTable()
        return {}
      case "find": {
        const info = await node.peerRouting.findPeer(peerIdFromString(peer), { signal, useCache: false })
        return { addresses: info.multiaddrs.map(String) }
      }
      case "closest": {
        const peers = []
        for await (const info of node.peerRouting.getClosestPeers(bytes(key), { signal })) {
          peers.push(info.id.toString())
        }
        return { peers }
      }
      case "put":
        await node.contentRouting.put(bytes(key), bytes(value), { signal })
        return {}
      case "get":
        return { value: text(await node.contentRouting.get(bytes(key), { signal, useCache: false })) }
      case "provide":
        await node.contentRouting.provide(CID.parse(cid), { signal })
        return {}
      case "providers": {
        const peers = []
        for await (const info of node.contentRouting.findProviders(CID.parse(cid), { signal, useCache: false })) {
          peers.push(info.id.toString())
          if (peers.length >= count) {
            break
          }
        }
        return { peers }
      }
      default:
        throw new Error(`unknown command ${run}`)
    }
  }

  const lines = createInterface({ input: process.stdin })
  lines.on("close", () => process.exit(0))
  lines.on("line", (line) => {
    const command = JSON.parse(line)
    run(command).then(
      (ok) => print({ id: command.id, ok }),
      (err) => print({ id: command.id, error: err.message })
    )
  })
}
