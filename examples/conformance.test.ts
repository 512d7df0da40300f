// A transport of your own, held to what every transport must do.
import { transportSuite } from "effect-libp2p/conformance/Transport"
import { Effect } from "effect"
import { MemoryTransport, Multiaddr, type Transport } from "effect-libp2p"

/** Here: the transport in memory, with a word on each dial. */
const talkative = (inner: Transport.TransportProtocol): Transport.TransportProtocol => ({
  ...inner,
  name: "talkative",
  dial: (address, options) =>
    Effect.tap(inner.dial(address, options), (raw) => Effect.logDebug(`dialled ${raw.remoteAddress.toString()}`))
})

transportSuite(
  "talkative",
  Effect.gen(function* () {
    const hub = yield* MemoryTransport.makeHub()
    return {
      dialer: talkative(yield* MemoryTransport.make(hub)),
      listener: talkative(yield* MemoryTransport.make(hub)),
      listenAt: Multiaddr.fromStringUnsafe("/memory/0")
    }
  })
)
