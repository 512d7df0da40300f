import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Keys from "../../../src/data/Keys.ts"
import * as LengthPrefix from "../../../src/data/LengthPrefix.ts"
import * as Exchange from "../../../src/data/messages/Exchange.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as FromKey from "../../../src/layers/identity/FromKey.ts"
import * as FromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Plaintext from "../../../src/layers/security/Plaintext.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { ConnectionSecurity, type Role } from "../../../src/services/ConnectionSecurity.ts"
import type { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { byteStreamSuite } from "../../../src/conformance/ByteStream.ts"
import { connect, readAll, securitySuite, streamFailure } from "../../../src/conformance/ConnectionSecurity.ts"
import { vectors } from "../../../src/conformance/Crypto.ts"

const node = (identity: Layer.Layer<Identity, unknown, Crypto>) =>
  Effect.gen(function* () {
    const protocol = yield* Plaintext.make
    const { peerId, publicKey } = yield* Identity
    return { protocol, peerId, publicKey }
  }).pipe(Effect.provide(Layer.provide(identity, NodeCrypto.layer)), Effect.orDie)

const seeded = (n: number) => node(FromSeed.layer(new Uint8Array(32).fill(n)))
const both = Effect.all({ dialer: seeded(1), listener: seeded(2) })

securitySuite("Plaintext", both, { earlyMuxer: false })

byteStreamSuite(
  "Plaintext",
  Effect.gen(function* () {
    const { dialer, listener } = yield* both
    const { far, near } = yield* Effect.orDie(connect(dialer, listener))
    return [near, far] as const
  })
)

describe("Plaintext: nodes of every kind", () => {
  for (const { name, privateKey, publicKey } of vectors) {
    it.effect(`an ${name} identity is told`, () =>
      Effect.gen(function* () {
        const listener = yield* node(FromKey.layer(privateKey))
        const { near } = yield* connect(yield* seeded(1), listener, { expectedPeer: listener.peerId })
        assert.isTrue(Keys.equals(near.remotePublicKey, publicKey))
      })
    )
  }

  it.effect("the layer offers /plaintext/2.0.0", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        (yield* ConnectionSecurity).protocols.map((protocol) => protocol.id),
        ["/plaintext/2.0.0"]
      )
    }).pipe(
      Effect.provide(
        Plaintext.layer.pipe(Layer.provide(FromSeed.layer(new Uint8Array(32))), Layer.provide(NodeCrypto.layer))
      )
    )
  )
})

/** What a hand-made remote sends, and how it is taken. */
const meet = (role: Role, bytes: Uint8Array, close = false) =>
  Effect.gen(function* () {
    const us = yield* seeded(1)
    const [left, right] = yield* Pipe.pair({ capacity: 200_000 })
    const secured = yield* Effect.forkChild(
      Effect.result(us.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }))
    )
    yield* ByteStream.write(right, bytes)
    if (close) yield* right.closeWrite
    return { secured: yield* Fiber.join(secured), left, right }
  })

const mallory = Effect.runSync(seeded(66))
const victim = Effect.runSync(seeded(55))
const key = Keys.encodePublicKey(mallory.publicKey)
const id = mallory.peerId.bytes
const message = (exchange: Exchange.Exchange) => LengthPrefix.encode(Exchange.encode(exchange))
const honest = message({ id, publicKey: key })

describe("Plaintext: a remote that lies", () => {
  const lies: ReadonlyArray<readonly [string, Uint8Array, string, RegExp]> = [
    ["the id of another peer", message({ id: victim.peerId.bytes, publicKey: key }), "BadIdentity", /not that of/],
    ["no id", message({ publicKey: key }), "BadIdentity", /no peer id/],
    ["no key", message({ id }), "BadIdentity", /no public key/],
    ["a key of no type", message({ id, publicKey: Uint8Array.of(8, 9, 18, 0) }), "BadIdentity", /malformed/],
    ["an empty message", message({}), "BadIdentity", /no peer id/],
    ["a message that is no protobuf", LengthPrefix.encode(Uint8Array.of(255, 255, 255)), "BadHandshake", /malformed/],
    ["a message too long", LengthPrefix.encode(new Uint8Array(4097)), "BadHandshake", /4097 bytes, over the limit/],
    ["a length announced as huge", Uint8Array.of(255, 255, 255, 255, 127), "BadHandshake", /over the limit/],
    ["a length that is none", new Uint8Array(10).fill(255), "BadHandshake", /too long/]
  ]
  for (const [title, bytes, tag, words] of lies) {
    for (const role of ["dialer", "listener"] as const) {
      it.effect(`as ${role}: ${title}`, () =>
        Effect.gen(function* () {
          const { left, secured } = yield* meet(role, bytes)
          const { reason } = Result.isFailure(secured) ? secured.failure : assert.fail("it was accepted")
          assert.strictEqual(reason._tag, tag)
          assert.match("detail" in reason ? reason.detail : "", words)
          assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
        })
      )
    }
  }

  it.effect("a message cut off at any byte", () =>
    Effect.gen(function* () {
      for (let n = 0; n < honest.length; n++) {
        const { secured } = yield* meet("listener", honest.subarray(0, n), true)
        if (Result.isSuccess(secured)) return assert.fail(`${n} bytes were accepted`)
        assert.strictEqual(secured.failure.reason._tag, "HandshakeInterrupted")
      }
    })
  )

  it.effect("what an honest one sends behind its message is kept, and comes first", () =>
    Effect.gen(function* () {
      const { right, secured } = yield* meet("listener", Bytes.concat([honest, Uint8Array.of(1, 2, 3)]))
      yield* ByteStream.write(right, Uint8Array.of(4))
      yield* right.closeWrite
      assert.deepStrictEqual(yield* readAll(Result.getOrThrow(secured)), Uint8Array.of(1, 2, 3, 4))
    })
  )
})
