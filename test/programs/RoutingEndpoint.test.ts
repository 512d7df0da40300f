/** What a node answers about its network over HTTP. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import { environment } from "../../src/layers/simulation/Nodes.ts"
import * as RoutingEndpoint from "../../src/programs/cli/RoutingEndpoint.ts"
import { ContentRouting } from "../../src/services/ContentRouting.ts"
import { type RoutedPeer, RoutingError, RoutingTimeout } from "../../src/services/PeerRouting.ts"

const provider: RoutedPeer = {
  peer: environment(new Uint8Array(32).fill(1)).peerId,
  addresses: [Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/4001")]
}
const late = Stream.fail(
  new RoutingError({ router: "test", what: "it", reason: new RoutingTimeout({ afterMs: 1, asked: 1 }) })
)

/** Providers, from a routing that tells of these and then runs out of time. */
const providers = (found: ReadonlyArray<RoutedPeer>) =>
  RoutingEndpoint.providers("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy").pipe(
    Effect.provideService(
      ContentRouting,
      ContentRouting.of({
        router: "test",
        provide: () => Effect.die("not asked"),
        unprovide: () => Effect.void,
        provided: Effect.succeed([]),
        findProviders: () => Stream.concat(Stream.fromIterable(found), late)
      })
    )
  )

describe("/routing/v1/providers", () => {
  it.effect("tells of those that were found before the time was over", () =>
    Effect.gen(function* () {
      const { body, status } = yield* providers([provider])
      assert.strictEqual(status, 200)
      assert.include(body, provider.peer.toString())
      assert.strictEqual((yield* providers([])).status, 503)
    })
  )
})
