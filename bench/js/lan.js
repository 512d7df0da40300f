// Nodes of one local network in one process, for the benchmarks of it. The contract is described in ../README.md.

import dgram from "node:dgram"
import { mdns } from "@libp2p/mdns"
import { noise } from "@libp2p/noise"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"
import { limits, unlimited } from "./node.js"

/** Datagrams that this process has sent. */
let sent = 0
dgram.Socket.prototype.send = new Proxy(Reflect.get(dgram.Socket.prototype, "send"), {
  apply: (send, socket, args) => {
    sent++
    return Reflect.apply(send, socket, args)
  }
})

export const lan = {
  "lan-discover": async ({ count }) => {
    const started = performance.now()
    const nodes = await Promise.all(
      Array.from({ length: count }, async () => {
        const known = new Set()
        const node = await createLibp2p({
          ...limits,
          addresses: { listen: ["/ip4/0.0.0.0/tcp/0"] },
          transports: [tcp()],
          connectionEncrypters: [noise()],
          streamMuxers: [yamux(unlimited)],
          peerDiscovery: [mdns({ serviceTag: "_p2p-bench._udp.local" })],
          start: false
        })
        node.addEventListener("peer:discovery", ({ detail }) => known.add(detail.id.toString()))
        await node.start()
        return { node, known }
      })
    )
    while (nodes.some(({ known }) => known.size < count - 1)) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return { count, seconds: (performance.now() - started) / 1000 }
  },

  "lan-packets": async ({ seconds }) => {
    const before = sent
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    return { count: sent - before, seconds }
  }
}
