// A node that looks for others on the local network, until its standard input closes.
// The contract is described in ../README.md.

import { parseArgs } from "node:util"
import { identify } from "@libp2p/identify"
import { mdns } from "@libp2p/mdns"
import { noise } from "@libp2p/noise"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"

export async function runLan(args, print) {
  const { values } = parseArgs({
    args,
    options: {
      listen: { type: "string", default: "/ip4/0.0.0.0/tcp/0" },
      service: { type: "string" }
    }
  })
  const node = await createLibp2p({
    addresses: { listen: [values.listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
    peerDiscovery: [mdns(values.service === undefined ? {} : { serviceTag: `_p2p-${values.service}._udp.local` })]
  })
  // js-libp2p reports a peer once, when it is new.
  node.addEventListener("peer:discovery", ({ detail }) => {
    print({ event: "found", peer: detail.id.toString(), addresses: detail.multiaddrs.map(String) })
    node.dial(detail.multiaddrs).then(
      () => print({ event: "connected", peer: detail.id.toString() }),
      (err) => process.stderr.write(`${detail.id}: ${err.message}\n`)
    )
  })
  print({ event: "listening", peer: node.peerId.toString() })
  process.stdin.resume()
  process.stdin.on("end", async () => {
    await node.stop()
    process.exit(0)
  })
}
