import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Keys from "../../../src/data/Keys.ts"
import * as NoisePayload from "../../../src/data/messages/NoisePayload.ts"
import * as NobleCrypto from "../../../src/layers/crypto/NobleCrypto.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as FromKey from "../../../src/layers/identity/FromKey.ts"
import * as FromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import { frame, FrameReader } from "../../../src/layers/security/noise/Frames.ts"
import { HandshakeState } from "../../../src/layers/security/noise/HandshakeState.ts"
import * as Proof from "../../../src/layers/security/noise/Proof.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { ConnectionSecurity } from "../../../src/services/ConnectionSecurity.ts"
import type { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { connect, pattern, readAll, securitySuite, streamFailure } from "../../../src/conformance/ConnectionSecurity.ts"
import { countingRandom, vectors } from "../../../src/conformance/Crypto.ts"

const crypto = NodeCrypto.make()
const nothing = new Uint8Array(0)

const random = (seed: number) => {
  let state = seed
  return SecureRandom.make((size) =>
    Uint8Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 24)
  )
}

const node = (identity: Layer.Layer<Identity, unknown, Crypto>, seed: number, cryptoLayer = NodeCrypto.layer) =>
  Effect.gen(function* () {
    const protocol = yield* Noise.make
    const { peerId, publicKey } = yield* Identity
    return { protocol, peerId, publicKey }
  }).pipe(
    Effect.provide(Layer.provideMerge(identity, cryptoLayer)),
    Effect.provideService(SecureRandom.SecureRandom, random(seed)),
    Effect.orDie
  )

const seeded = (n: number, cryptoLayer?: Layer.Layer<Crypto>) =>
  node(FromSeed.layer(new Uint8Array(32).fill(n)), n, cryptoLayer)

securitySuite("Noise", Effect.all({ dialer: seeded(1), listener: seeded(2) }))

describe("Noise: nodes of every kind", () => {
  it.live("a node on the Node layer and one on the noble layer understand each other", () =>
    Effect.gen(function* () {
      const { far, near } = yield* connect(yield* seeded(1), yield* seeded(2, NobleCrypto.layer))
      yield* ByteStream.write(near, pattern(3000))
      yield* near.closeWrite
      assert.deepStrictEqual(yield* readAll(far), pattern(3000))
    })
  )

  for (const { name, privateKey, publicKey } of vectors) {
    it.live(`an ${name} identity is proven`, () =>
      Effect.gen(function* () {
        const listener = yield* node(FromKey.layer(privateKey), 3)
        const { near } = yield* connect(yield* seeded(1), listener, { expectedPeer: listener.peerId })
        assert.isTrue(Keys.equals(near.remotePublicKey, publicKey))
      })
    )
  }

  it.effect("the layer offers /noise", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        (yield* ConnectionSecurity).protocols.map((protocol) => protocol.id),
        ["/noise"]
      )
    }).pipe(
      Effect.provide(
        Noise.layer.pipe(Layer.provide(FromSeed.layer(new Uint8Array(32))), Layer.provide(NodeCrypto.layer))
      ),
      Effect.provideService(SecureRandom.SecureRandom, countingRandom())
    )
  )

  it.effect("a seed of another length is no identity", () =>
    Effect.gen(function* () {
      const made = FromSeed.make(new Uint8Array(31)).pipe(Effect.provide(NodeCrypto.layer))
      assert.strictEqual((yield* Effect.flip(made)).operation, "import")
    })
  )
})

/** A hand-made remote, to do what no honest one would. */
const staticKey = crypto.dhKeyPair(new Uint8Array(32).fill(77))
const identityOf = (n: number) =>
  Effect.runSync(Effect.orDie(FromSeed.make(new Uint8Array(32).fill(n)).pipe(Effect.provide(NodeCrypto.layer))))
const mallory = identityOf(66)
const victim = identityOf(55)

const honest = (muxers: ReadonlyArray<string> = []) =>
  Proof.encode(mallory.publicKey, mallory.sign(Proof.signedBytes(staticKey.publicKey)), muxers)

const remoteState = (role: "initiator" | "responder") =>
  new HandshakeState(crypto, { role, staticKey, ephemeralKey: crypto.dhKeyPair(new Uint8Array(32).fill(78)) })

const nextMessage = (raw: ByteStream.ByteStream) => {
  const frames = new FrameReader()
  return Effect.gen(function* () {
    for (;;) {
      const message = frames.next()
      if (message !== undefined) return Uint8Array.from(message)
      frames.feed((yield* ByteStream.read(raw)) ?? assert.fail("the stream ended"))
    }
  })
}

type Role = "dialer" | "listener"

/**
 * Runs the hand-made remote with a payload against this side in `role`, then
 * sends `after`, sealed as the connection's first messages.
 */
const meet = (role: Role, payload: Uint8Array, muxers: ReadonlyArray<string> = [], after: Uint8Array = nothing) =>
  Effect.gen(function* () {
    const us = yield* seeded(1)
    const [left, right] = yield* Pipe.pair()
    const secured = yield* Effect.forkChild(
      Effect.result(us.protocol.secure(left, { role, expectedPeer: undefined, muxers })),
      { startImmediately: true }
    )
    const state = remoteState(role === "dialer" ? "responder" : "initiator")
    if (role === "dialer") {
      Result.getOrThrow(state.read(yield* nextMessage(right)))
      yield* ByteStream.write(right, frame(Result.getOrThrow(state.write(payload))))
    } else {
      yield* ByteStream.write(right, frame(Result.getOrThrow(state.write(nothing))))
      Result.getOrThrow(state.read(yield* nextMessage(right)))
      const last = frame(Result.getOrThrow(state.write(payload)))
      const data = state.ciphers?.send.encrypt(nothing, [after]) ?? assert.fail()
      yield* ByteStream.write(right, after.length === 0 ? last : Bytes.concat([last, frame(data)]))
    }
    return { secured: yield* Fiber.join(secured), left, right }
  })

const reasonOf = (role: Role, payload: Uint8Array) =>
  Effect.gen(function* () {
    const { left, secured } = yield* meet(role, payload)
    assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
    return Result.isFailure(secured) ? secured.failure.reason : assert.fail("it was accepted")
  })

describe("Noise: a remote that lies", () => {
  const lies: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    [
      "a payload signed by another key",
      Proof.encode(victim.publicKey, mallory.sign(Proof.signedBytes(staticKey.publicKey)), []),
      /did not sign/
    ],
    [
      "a signature over another static key",
      Proof.encode(victim.publicKey, victim.sign(Proof.signedBytes(new Uint8Array(32).fill(5))), []),
      /did not sign/
    ],
    [
      "a signature without the prefix",
      Proof.encode(mallory.publicKey, mallory.sign(staticKey.publicKey), []),
      /did not sign/
    ],
    ["no payload", nothing, /no identity key/],
    ["no signature", NoisePayload.encode({ identityKey: Keys.encodePublicKey(mallory.publicKey) }), /no signature/],
    ["an empty signature", Proof.encode(mallory.publicKey, nothing, []), /did not sign/],
    [
      "an identity key of no type",
      NoisePayload.encode({ identityKey: Uint8Array.of(8, 9, 18, 0), identitySig: nothing }),
      /malformed/
    ],
    [
      "an identity key that is no point of its curve",
      Proof.encode(
        { type: "secp256k1", bytes: Uint8Array.from({ length: 33 }, (_, i) => (i === 0 ? 2 : 255)) },
        nothing,
        []
      ),
      /cannot be used/
    ],
    ["a payload that is no protobuf", Uint8Array.of(0xff, 0xff, 0xff), /malformed/]
  ]
  for (const [title, payload, words] of lies) {
    for (const role of ["dialer", "listener"] as const) {
      it.live(`as ${role}: ${title}`, () =>
        Effect.gen(function* () {
          const reason = yield* reasonOf(role, payload)
          if (reason._tag !== "BadIdentity") return assert.fail(reason._tag)
          assert.match(reason.detail, words)
        })
      )
    }
  }

  it.live("nothing is delivered of a remote that proved nothing, though it sent sealed data at once", () =>
    Effect.gen(function* () {
      const { left, secured } = yield* meet("listener", nothing, [], Uint8Array.of(1, 2, 3))
      assert.isTrue(Result.isFailure(secured))
      assert.isUndefined(left.tryRead())
    })
  )

  it.live("an honest one's data, in the batch of its last message, is kept", () =>
    Effect.gen(function* () {
      const { secured } = yield* meet("listener", honest(), [], Uint8Array.of(1, 2, 3))
      const connection = Result.getOrThrow(secured)
      assert.deepStrictEqual(yield* ByteStream.read(connection), Uint8Array.of(1, 2, 3))
    })
  )
})

describe("Noise: muxers of a remote", () => {
  const us = ["/yamux/1.0.0", "/mplex/6.7.0"]
  const cases: ReadonlyArray<readonly [string, Role, ReadonlyArray<string>, string | undefined]> = [
    ["the dialer goes by its own order", "dialer", ["/mplex/6.7.0", "/yamux/1.0.0"], "/yamux/1.0.0"],
    ["the listener goes by the dialer's order", "listener", ["/mplex/6.7.0", "/yamux/1.0.0"], "/mplex/6.7.0"],
    ["one the dialer has picked already", "listener", ["/mplex/6.7.0"], "/mplex/6.7.0"],
    ["a hundred are read", "listener", [...Array.from({ length: 99 }, () => "/x"), "/yamux/1.0.0"], "/yamux/1.0.0"],
    [
      "more than a hundred count as none",
      "listener",
      [...Array.from({ length: 100 }, () => "/x"), "/yamux/1.0.0"],
      undefined
    ]
  ]
  for (const [title, role, theirs, chosen] of cases) {
    it.live(title, () =>
      Effect.gen(function* () {
        const { secured } = yield* meet(role, honest(theirs), us)
        assert.strictEqual(Result.getOrThrow(secured).earlyMuxer, chosen)
      })
    )
  }
})

describe("Noise: broken handshakes", () => {
  const listen = (bytes: Uint8Array, close: boolean) =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair({ capacity: 200_000 })
      const us = yield* seeded(1)
      const fiber = yield* Effect.forkChild(
        Effect.result(us.protocol.secure(left, { role: "listener", expectedPeer: undefined, muxers: [] })),
        { startImmediately: true }
      )
      yield* ByteStream.write(right, bytes)
      if (close) yield* right.closeWrite
      const secured = yield* Fiber.join(fiber)
      assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
      return Result.isFailure(secured) ? secured.failure.reason._tag : assert.fail("it was accepted")
    })

  const first = Result.getOrThrow(remoteState("initiator").write(nothing))

  it.live("a first message cut off at any byte", () =>
    Effect.gen(function* () {
      const whole = frame(first)
      for (let n = 0; n < whole.length; n++) {
        assert.strictEqual(yield* listen(whole.subarray(0, n), true), "HandshakeInterrupted")
      }
    })
  )

  it.live("an empty first message", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(frame(nothing), false), "BadHandshake")
    })
  )

  it.live("a first message too short", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(frame(first.subarray(1)), false), "BadHandshake")
    })
  )

  it.live("an all-zero ephemeral key", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(frame(new Uint8Array(32)), false), "BadHandshake")
    })
  )

  it.live("a third message of the largest size that is garbage", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(Bytes.concat([frame(first), frame(pattern(65_535))]), false), "BadHandshake")
    })
  )

  it.live("the first message again as the third", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(Bytes.concat([frame(first), frame(first)]), false), "BadHandshake")
    })
  )

  it.live("a connection cut before the third message", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* listen(frame(first), true), "HandshakeInterrupted")
    })
  )

  it.live("random bytes, many times over, are refused and never crash", () =>
    Effect.gen(function* () {
      const source = random(12345)
      for (let i = 0; i < 200; i++) {
        const size = yield* source.intBetween(0, i % 10 === 0 ? 70_000 : 300)
        assert.isString(yield* listen(yield* source.randomBytes(size), true))
      }
    })
  )

  it.live("interrupting a handshake resets the connection", () =>
    Effect.gen(function* () {
      const [left] = yield* Pipe.pair()
      const us = yield* seeded(1)
      const fiber = yield* Effect.forkChild(
        us.protocol.secure(left, { role: "listener", expectedPeer: undefined, muxers: [] }),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
    })
  )
})
