import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as Names from "../../../../src/layers/swarm/dial/Names.ts"
import type { Net } from "../../../../src/services/Net.ts"

describe("dnsaddr links", () => {
  it.effect("that lead to ever more links cost a bounded number of lookups", () =>
    Effect.gen(function* () {
      let lookups = 0
      const net: Net["Service"] = {
        connect: () => Effect.never,
        listen: () => Effect.never,
        bind: () => Effect.never,
        interfaces: Effect.succeed([]),
        lookup: () => Effect.sync(() => (lookups++, ["192.0.2.1"])),
        // A zone of an attacker's, who has told others that it is where the peer is.
        lookupTxt: (name) =>
          Effect.sync(() => {
            lookups++
            return Array.from({ length: 32 }, (_, i) => `dnsaddr=/dnsaddr/${i}.${name.replace("_dnsaddr.", "")}`)
          })
      }
      const resolve = Names.make(net, 32)
      const error = yield* Effect.flip(
        resolve(Multiaddr.fromStringUnsafe("/dnsaddr/example.org"), undefined, Names.lookups())
      )
      assert.strictEqual(error._tag, "UnresolvedName")
      assert.isAtMost(lookups, Names.maxLookups)
      // All names of a dial share the bound.
      lookups = 0
      const shared = Names.lookups()
      for (let i = 0; i < 32; i++) {
        yield* Effect.exit(resolve(Multiaddr.fromStringUnsafe(`/dnsaddr/${i}.example.org`), undefined, shared))
      }
      assert.isAtMost(lookups, Names.maxLookups)
    })
  )
})
