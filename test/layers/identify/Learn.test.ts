import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Result } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import { interpret, whole } from "../../../src/layers/identify/Interpret.ts"
import { learn } from "../../../src/layers/identify/Learn.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { PeerStore, PeerStoreError, StorageFailed, type Tolerant, tolerant } from "../../../src/services/PeerStore.ts"
import * as SignedEnvelope from "../../../src/services/SignedEnvelope.ts"
import { identityOf } from "./network.ts"

const addr = Multiaddr.fromStringUnsafe
const alice = identityOf(1)
const addresses = [
  "/ip4/127.0.0.1/tcp/22",
  "/ip4/192.168.1.1/tcp/80",
  "/ip4/10.0.0.9/tcp/4001",
  "/ip4/5.6.7.8/tcp/4001"
]

const hear = (options: {
  readonly from: string
  readonly signed?: ReadonlyArray<string>
  readonly sequence?: bigint
  readonly claimed?: ReadonlyArray<string>
  readonly store?: PeerStore["Service"]
  readonly tolerant?: Tolerant
}) =>
  Effect.gen(function* () {
    const store = options.store ?? (yield* PeerStore)
    const connection = { remotePeer: alice.peerId, remoteAddress: addr(options.from) }
    const message = {
      listenAddrs: (options.claimed ?? []).map((one) => addr(one).bytes),
      protocols: ["/x"],
      signedPeerRecord:
        options.signed === undefined
          ? undefined
          : yield* SignedEnvelope.sealPeerRecord(options.signed.map(addr), options.sequence ?? 1n).pipe(
              Effect.provideService(Identity, alice)
            )
    }
    const told = Result.getOrThrow(interpret(message, alice.peerId, yield* Crypto))
    const info = Result.getOrThrow(whole(alice.peerId, { ...told, publicKey: alice.publicKey }))
    yield* learn(store, options.tolerant ?? tolerant("the test"), connection, told, info)
    const known = yield* (yield* PeerStore).get(alice.peerId)
    return {
      known,
      kept: (known?.addresses ?? []).map(({ address, confidence }) => `${confidence} ${address.toString()}`).toSorted()
    }
  })

const layer = Layer.provideMerge(MemoryPeerStore.layer(), NodeCrypto.layer)

describe("what is kept of what a peer told", () => {
  it.effect("signed addresses that mean the same here, its key and its protocols", () =>
    Effect.gen(function* () {
      const { kept, known } = yield* hear({
        from: "/ip4/5.6.7.8/tcp/4001",
        signed: addresses,
        claimed: ["/ip4/5.9.9.9/tcp/1"]
      })
      assert.deepStrictEqual(kept, ["certified /ip4/5.6.7.8/tcp/4001"])
      assert.strictEqual(known?.recordSequence, 1n)
      assert.deepStrictEqual(known?.publicKey, alice.publicKey)
      assert.deepStrictEqual(known?.protocols, ["/x"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("of a peer of a private network, the private ones as well, and of this machine, all", () =>
    Effect.gen(function* () {
      const near = yield* hear({ from: "/ip4/10.0.0.9/tcp/4001", signed: addresses })
      assert.deepStrictEqual(near.kept, [
        "certified /ip4/10.0.0.9/tcp/4001",
        "certified /ip4/192.168.1.1/tcp/80",
        "certified /ip4/5.6.7.8/tcp/4001"
      ])
      const here = yield* hear({ from: "/ip4/127.0.0.1/tcp/4001", signed: addresses, sequence: 2n })
      assert.lengthOf(here.kept, 4)
    }).pipe(Effect.provide(layer))
  )

  it.effect("an address by which there was a connection stays, whatever the record says", () =>
    Effect.gen(function* () {
      const store = yield* PeerStore
      yield* store.addAddresses(alice.peerId, [addr("/ip4/192.168.1.1/tcp/80")], "proven")
      const { kept } = yield* hear({ from: "/ip4/5.6.7.8/tcp/4001", signed: addresses })
      assert.deepStrictEqual(kept, ["certified /ip4/5.6.7.8/tcp/4001", "proven /ip4/192.168.1.1/tcp/80"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("when the peer comes again with the same record, what was not kept does not come back", () =>
    Effect.gen(function* () {
      const once = { from: "/ip4/5.6.7.8/tcp/4001", signed: addresses }
      yield* hear(once)
      const { kept } = yield* hear(once)
      assert.deepStrictEqual(kept, ["certified /ip4/5.6.7.8/tcp/4001"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("nor what a record names behind more than is looked at", () =>
    Effect.gen(function* () {
      const me = `/p2p/${alice.peerId.toString()}`
      const filling = Array.from({ length: 64 }, (_, i) => `/ip4/5.6.7.8/tcp/${i + 1}${me}${me}`)
      const { kept } = yield* hear({ from: "/ip4/5.6.7.8/tcp/4001", signed: [...filling, ...addresses] })
      assert.deepStrictEqual(kept, ["certified /ip4/5.6.7.8/tcp/4001"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("nor what leads to this machine by another name", () =>
    Effect.gen(function* () {
      const here = [
        "/ip4/0.0.0.0/tcp/22",
        "/ip6/::/tcp/22",
        "/ip6/::ffff:0.0.0.0/tcp/22",
        "/ip6/::ffff:127.0.0.1/tcp/22",
        "/dns4/localhost/tcp/22",
        "/dns/any.LocalHost./tcp/22",
        "/memory/7",
        "/unix/%2Frun%2Fdocker.sock"
      ]
      for (const from of ["/ip4/5.6.7.8/tcp/4001", "/ip4/10.0.0.9/tcp/4001"]) {
        const { kept } = yield* hear({ from, signed: here })
        assert.deepStrictEqual(kept, [], from)
        assert.deepStrictEqual((yield* hear({ from, claimed: here })).kept, [], from)
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("also of a peer that leaves while the disk is slow", () =>
    Effect.gen(function* () {
      const memory = yield* PeerStore
      const slow = <A, E>(write: Effect.Effect<A, E>) => Effect.andThen(write, Effect.never)
      const store: PeerStore["Service"] = {
        ...memory,
        addRecord: (...given) => slow(memory.addRecord(...given)),
        addAddresses: (...given) => slow(memory.addAddresses(...given)),
        removeAddresses: (...given) => slow(memory.removeAddresses(...given)),
        setPublicKey: (...given) => slow(memory.setPublicKey(...given)),
        setProtocols: (...given) => slow(memory.setProtocols(...given))
      }
      const learning = hear({ from: "/ip4/5.6.7.8/tcp/4001", signed: addresses, store })
      yield* Fiber.interrupt(yield* Effect.forkChild(learning, { startImmediately: true }))
      const known = yield* memory.get(alice.peerId)
      assert.deepStrictEqual(
        known?.addresses.map(({ address }) => address.toString()),
        ["/ip4/5.6.7.8/tcp/4001"]
      )
      assert.deepStrictEqual(known?.protocols, ["/x"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("an old record is hearsay, and so is what is not signed", () =>
    Effect.gen(function* () {
      yield* hear({ from: "/ip4/5.6.7.8/tcp/4001", signed: ["/ip4/5.6.7.8/tcp/2"], sequence: 2n })
      const { kept, known } = yield* hear({ from: "/ip4/5.6.7.8/tcp/4001", signed: ["/ip4/5.6.7.8/tcp/1"] })
      assert.deepStrictEqual(kept, ["certified /ip4/5.6.7.8/tcp/2", "claimed /ip4/5.6.7.8/tcp/1"])
      assert.strictEqual(known?.recordSequence, 2n)
      const claimed = yield* hear({ from: "/ip4/5.6.7.8/tcp/4001", claimed: [...addresses, "/ip4/5.6.7.8/tcp/3"] })
      assert.include(claimed.kept, "claimed /ip4/5.6.7.8/tcp/3")
      assert.isTrue(claimed.kept.every((one) => one.includes("/ip4/5.6.7.8/")))
    }).pipe(Effect.provide(layer))
  )

  it.effect("a store that fails does not fail identify", () =>
    Effect.gen(function* () {
      const refuse = () =>
        Effect.fail(new PeerStoreError({ where: "disk", reason: new StorageFailed({ detail: "it is full" }) }))
      const store: PeerStore["Service"] = {
        ...(yield* PeerStore),
        addRecord: refuse,
        addAddresses: refuse,
        setPublicKey: refuse,
        setProtocols: refuse
      }
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      const told = { from: "/ip4/5.6.7.8/tcp/4001", signed: addresses, store, tolerant: tolerant("the test") }
      for (let i = 0; i < 3; i++) {
        const { known } = yield* hear(told).pipe(Effect.provide(Logger.layer([logger])))
        assert.isUndefined(known)
      }
      assert.lengthOf(warnings, 1)
    }).pipe(Effect.provide(layer))
  )
})
