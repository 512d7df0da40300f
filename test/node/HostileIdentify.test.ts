import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as Keys from "../../src/data/Keys.ts"
import * as LengthPrefix from "../../src/data/LengthPrefix.ts"
import * as Message from "../../src/data/messages/Identify.ts"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as Varint from "../../src/data/Varint.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import { maxAddresses, maxProtocols } from "../../src/layers/identify/Interpret.ts"
import * as IdentityFromSeed from "../../src/layers/identity/FromSeed.ts"
import { pushProtocol } from "../../src/services/Identify.ts"
import { Identity } from "../../src/services/Identity.ts"
import type { ProtocolStream } from "../../src/services/ProtocolStream.ts"
import * as SignedEnvelope from "../../src/services/SignedEnvelope.ts"
import { usedBytes } from "../support/memory.ts"
import { eventually, liar, noise, realNode, runNodes, stillServes } from "../support/peers.ts"

const identityOf = (seed: number) => {
  const bytes = new Uint8Array(32)
  bytes[0] = seed
  return Context.get(
    Effect.runSync(Effect.scoped(Layer.build(Layer.provide(IdentityFromSeed.layer(bytes), NodeCrypto.layer)))),
    Identity
  )
}
const keyOf = (seed: number): Uint8Array => Keys.encodePublicKey(identityOf(seed).publicKey)
/** What the peer of a seed signed of itself. */
const recordOf = (seed: number, addresses: ReadonlyArray<Multiaddr.Multiaddr> = []): Uint8Array =>
  Effect.runSync(SignedEnvelope.sealPeerRecord(addresses, 7n).pipe(Effect.provideService(Identity, identityOf(seed))))

type Fields = Partial<Message.Identify>
const encode = (fields: Fields) => LengthPrefix.encode(Message.encode({ listenAddrs: [], protocols: [], ...fields }))
const sends =
  (...messages: ReadonlyArray<Fields>) =>
  (stream: ProtocolStream) =>
    Effect.forEach(messages, (message) => stream.write(encode(message)), { discard: true })
/** What peer 2 could say of itself. */
const whole = { publicKey: keyOf(2), agentVersion: "liar/1" }
const many = Array.from({ length: 900 }, (_, i) =>
  Multiaddr.fromStringUnsafe(`/ip4/127.${i & 255}.${i >> 8}.1/tcp/${i + 1}`)
)

const answers: ReadonlyArray<readonly [string, string, (stream: ProtocolStream) => Effect.Effect<void, unknown>]> = [
  ["random bytes", "IdentifyMalformed", (stream) => stream.write(LengthPrefix.encode(noise(300, 1)))],
  ["nothing at all", "IdentifyMalformed", () => Effect.void],
  ["an empty message", "IdentifyMalformed", (stream) => stream.write(Buffer.from([0]))],
  [
    "a message that is cut",
    "IdentifyFailed",
    (stream) => stream.write(LengthPrefix.encode(noise(300, 1)).subarray(0, 100))
  ],
  [
    "an announcement of 10 MiB",
    "IdentifyMalformed",
    (stream) =>
      Effect.andThen(stream.write(Varint.encode(10 * 1024 * 1024)), Effect.forever(stream.write(noise(60_000, 1))))
  ],
  ["an announcement of 4 GiB", "IdentifyMalformed", (stream) => stream.write(Varint.encode(2 ** 32))],
  [
    "messages without end",
    "IdentifyMalformed",
    (stream) => Effect.forever(stream.write(LengthPrefix.encode(noise(1000, 2))))
  ],
  ["empty messages without end", "IdentifyMalformed", (stream) => Effect.forever(stream.write(new Uint8Array(1000)))],
  [
    "10 MiB in messages of the largest size",
    "IdentifyMalformed",
    (stream) => Effect.forEach(Array(640), () => stream.write(LengthPrefix.encode(noise(16_384, 3))), { discard: true })
  ],
  ["a whole message in too many parts", "IdentifyMalformed", sends(...Array.from({ length: 11 }, () => whole))],
  ["the key of another", "IdentifyMalformed", sends({ publicKey: keyOf(9) })],
  ["a key of no type", "IdentifyMalformed", sends({ publicKey: Uint8Array.of(8, 99, 18, 1, 0) })],
  ["the peer record of another", "IdentifyMalformed", sends({ ...whole, signedPeerRecord: recordOf(9) })],
  [
    "a peer record that is cut",
    "IdentifyMalformed",
    sends({ ...whole, signedPeerRecord: recordOf(2).subarray(0, 60) })
  ],
  [
    "a peer record that was changed",
    "IdentifyMalformed",
    sends({ ...whole, signedPeerRecord: recordOf(2).map((byte, i) => (i === 80 ? byte ^ 1 : byte)) })
  ],
  ["a reset", "IdentifyFailed", (stream) => stream.reset("no")],
  ["a defect", "IdentifyFailed", () => Effect.die(new Error("bug"))],
  ["silence", "IdentifyTimeout", () => Effect.never],
  ["a message that is true, a byte at a time", "IdentifyTimeout", (stream) => drip(stream)]
]

/** A true message, very slowly. */
const drip = (stream: ProtocolStream) =>
  Effect.forEach(encode(whole), (byte) => Effect.andThen(Effect.sleep(30), stream.write(Uint8Array.of(byte))), {
    discard: true
  })

describe("hostile answers to identify", () => {
  for (const [what, tag, answer] of answers) {
    it.live(`${what} is ${tag}, and the connection lives`, () =>
      runNodes(
        Effect.gen(function* () {
          const node = yield* realNode({ seed: 1, identify: { deadline: 500 } })
          const measured = what.includes("without end") || what.includes("MiB") || what.includes("GiB")
          const before = measured ? yield* usedBytes : 0
          const connection = yield* node.swarm.dial(yield* liar(2, answer))
          const error = yield* Effect.flip(node.identify.identified(connection))
          assert.strictEqual(error.reason._tag, tag, error.message)
          // Who asks again gets the same answer.
          assert.strictEqual((yield* Effect.flip(node.identify.identified(connection))).reason._tag, tag)
          assert.isAtLeast(yield* connection.ping, 0)
          if (measured) {
            const growth = (yield* usedBytes) - before
            assert.isBelow(growth, 5_000_000, `${growth} bytes are held`)
          }
          yield* stillServes(yield* realNode({ seed: 3 }), node)
        })
      )
    )
  }
})

describe("more than anybody needs", () => {
  it.live("addresses and protocols by the thousand are read, and as many are kept as are of use", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        const protocols = Array.from({ length: 800 }, (_, i) => `${i}`)
        const address = yield* liar(
          2,
          sends(
            { ...whole, listenAddrs: many.map(({ bytes }) => bytes) },
            { protocols, agentVersion: `\u001b[2J${"x".repeat(1000)}` }
          )
        )
        const connection = yield* node.swarm.dial(address)
        const info = yield* node.identify.identified(connection)
        assert.lengthOf(info.listenAddresses, maxAddresses)
        assert.lengthOf(info.protocols, maxProtocols)
        assert.match(info.agentVersion ?? "", /^\ufffd\[2Jx{123}…$/)
        const known = yield* node.peerStore.get(info.peer)
        assert.isAtMost(known?.addresses.length ?? 0, maxAddresses)
        assert.isAtMost(known?.protocols.length ?? 0, maxProtocols)
      })
    )
  )

  it.live("and so are signed ones", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        const address = yield* liar(2, sends({ ...whole, signedPeerRecord: recordOf(2, many) }))
        const info = yield* node.identify.identified(yield* node.swarm.dial(address))
        assert.lengthOf(info.listenAddresses, maxAddresses)
        const known = yield* node.peerStore.get(info.peer)
        assert.strictEqual(known?.recordSequence, 7n)
        assert.isAtMost(known?.addresses.length ?? 0, maxAddresses)
      })
    )
  )
})

describe("hostile pushes", () => {
  it.live("without end, of all kinds: what is known stays, and so does the memory in use", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, identify: { deadline: 500 } })
        const hostile = yield* realNode({ seed: 2 })
        const connection = yield* hostile.swarm.dial(node.address)
        yield* eventually(
          Effect.map(node.swarm.connections(hostile.swarm.peerId), (all) => all.length > 0),
          () => "they are not connected"
        )
        const known = Effect.flatMap(node.swarm.connections(hostile.swarm.peerId), ([back]) =>
          back === undefined ? Effect.die("they are connected no more") : node.identify.identified(back)
        )
        const before = yield* known
        const pushes: ReadonlyArray<(stream: ProtocolStream) => Effect.Effect<void, unknown>> = [
          (stream) => stream.write(noise(300, 1)),
          sends({ publicKey: keyOf(9), agentVersion: "no" }),
          sends({ signedPeerRecord: recordOf(9), agentVersion: "no" }),
          (stream) => Effect.andThen(stream.write(Varint.encode(10 * 1024 * 1024)), stream.write(noise(60_000, 1))),
          (stream) => Effect.andThen(stream.write(Uint8Array.of(50)), Effect.sleep(50)),
          () => Effect.void
        ]
        const flood = (count: number) =>
          Effect.forEach(
            Array.from({ length: count }, (_, i) => pushes[i % pushes.length] ?? assert.fail()),
            (push) => Effect.ignore(Effect.scoped(Effect.flatMap(connection.openStream(pushProtocol), push))),
            { concurrency: 20, discard: true }
            // Afterwards those that were silent have met their deadline, and the last false one was looked at.
          ).pipe(Effect.andThen(Effect.sleep(1200)))
        // What is loaded and compiled on the way does not count.
        yield* flood(60)
        const used = yield* usedBytes
        yield* flood(300)
        const growth = (yield* usedBytes) - used
        assert.isBelow(growth, 5_000_000, `${growth} bytes are held`)
        assert.deepStrictEqual(yield* known, before)
        assert.isAtLeast(yield* connection.ping, 0)
        yield* Effect.scoped(Effect.flatMap(connection.openStream(pushProtocol), sends({ agentVersion: "new" })))
        yield* eventually(
          Effect.map(Effect.orDie(known), (info) => info.agentVersion === "new"),
          () => "an honest push was not taken"
        )
        yield* stillServes(yield* realNode({ seed: 3 }), node)
      })
    )
  )
})
