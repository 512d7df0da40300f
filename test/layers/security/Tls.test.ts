import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Keys from "../../../src/data/Keys.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as FromKey from "../../../src/layers/identity/FromKey.ts"
import * as FromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Tls from "../../../src/layers/security/Tls.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { ConnectionSecurity } from "../../../src/services/ConnectionSecurity.ts"
import type { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { byteStreamSuite } from "../../../src/conformance/ByteStream.ts"
import { connect, securitySuite } from "../../../src/conformance/ConnectionSecurity.ts"
import { vectors } from "../../../src/conformance/Crypto.ts"

const node = (identity: Layer.Layer<Identity, unknown, Crypto>) =>
  Effect.gen(function* () {
    const protocol = yield* Tls.make
    const { peerId, publicKey } = yield* Identity
    return { protocol, peerId, publicKey }
  }).pipe(Effect.provide(Layer.provideMerge(identity, NodeCrypto.layer)), Effect.orDie)

const seeded = (n: number) => node(FromSeed.layer(new Uint8Array(32).fill(n)))
const both = Effect.all({ dialer: seeded(1), listener: seeded(2) })

securitySuite("Tls", both)

for (const capacity of [1000, 64 * 1024]) {
  byteStreamSuite(
    `Tls over a pipe of ${capacity} bytes`,
    Effect.gen(function* () {
      const { dialer, listener } = yield* both
      const { far, near } = yield* Effect.orDie(connect(dialer, listener, { pipe: { capacity } }))
      return [near, far] as const
    }),
    { bound: 512 * 1024, transfer: 4 * 256 * 1024 }
  )
}

describe("Tls: nodes of every kind", () => {
  for (const { name, privateKey, publicKey } of vectors) {
    it.live(`an ${name} identity is proven, to the dialer and to the listener`, () =>
      Effect.gen(function* () {
        const other = yield* node(FromKey.layer(privateKey))
        const dialled = yield* connect(yield* seeded(1), other, { expectedPeer: other.peerId })
        assert.isTrue(Keys.equals(dialled.near.remotePublicKey, publicKey))
        const dialling = yield* connect(other, yield* seeded(1))
        assert.isTrue(Keys.equals(dialling.far.remotePublicKey, publicKey))
      })
    )
  }

  it.live("one node secures many connections at once, as dialer and listener, with itself even", () =>
    Effect.gen(function* () {
      const us = yield* seeded(1)
      const pairs = yield* Effect.all(
        Array.from({ length: 10 }, () => connect(us, us, { expectedPeer: us.peerId })),
        { concurrency: "unbounded" }
      )
      for (const [i, { far, near }] of pairs.entries()) {
        yield* ByteStream.write(near, Uint8Array.of(i))
        assert.deepStrictEqual(yield* ByteStream.read(far), Uint8Array.of(i))
      }
    })
  )

  it.effect("the layer offers /tls/1.0.0", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        (yield* ConnectionSecurity).protocols.map((protocol) => protocol.id),
        ["/tls/1.0.0"]
      )
    }).pipe(
      Effect.provide(Tls.layer.pipe(Layer.provide(FromSeed.layer(new Uint8Array(32))), Layer.provide(NodeCrypto.layer)))
    )
  )
})
