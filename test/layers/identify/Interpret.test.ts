import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result, Schema } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Keys from "../../../src/data/Keys.ts"
import * as Message from "../../../src/data/messages/Identify.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import {
  interpret,
  join,
  maxAddresses,
  maxProtocols,
  maxVersionLength,
  update,
  whole
} from "../../../src/layers/identify/Interpret.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import * as SignedEnvelope from "../../../src/services/SignedEnvelope.ts"

const addr = Multiaddr.fromStringUnsafe
const built = (seed: number) =>
  Effect.runSync(
    Effect.scoped(
      Layer.build(Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32).fill(seed)), NodeCrypto.layer))
    )
  )
const node = (seed: number) => {
  const identity = Context.get(built(seed), Identity)
  const sign = <A>(effect: Effect.Effect<A, never, Identity>) =>
    Effect.runSync(Effect.provideService(effect, Identity, identity))
  return {
    identity,
    peer: identity.peerId,
    key: Keys.encodePublicKey(identity.publicKey),
    record: (addresses: ReadonlyArray<string>, sequence = 1n) =>
      sign(SignedEnvelope.sealPeerRecord(addresses.map(addr), sequence)),
    seal: (domain: string, type: Uint8Array, payload: Uint8Array) => sign(SignedEnvelope.seal(domain, type, payload))
  }
}
const crypto = Context.get(built(1), Crypto)
const alice = node(1)
const mallory = node(2)

const message = (fields: Partial<Message.Identify>): Message.Identify => ({
  publicKey: alice.key,
  listenAddrs: [],
  protocols: [],
  ...fields
})
const reading = (fields: Partial<Message.Identify>) => interpret(message(fields), alice.peer, crypto)
const accepted = (fields: Partial<Message.Identify>) => Result.getOrThrow(reading(fields))
const refused = (fields: Partial<Message.Identify>): string => {
  const result = reading(fields)
  return Result.isFailure(result) ? result.failure.detail : assert.fail("it was accepted")
}

describe("peer records", () => {
  it("one that holds: its addresses go before those that are only claimed", () => {
    const envelope = alice.record(["/ip4/198.51.100.1/tcp/1", `/ip4/198.51.100.2/tcp/2/p2p/${mallory.peer.toString()}`])
    const told = accepted({ signedPeerRecord: envelope, listenAddrs: [addr("/ip4/198.51.100.9/tcp/9").bytes] })
    assert.deepStrictEqual(told.listenAddresses.map(String), ["/ip4/198.51.100.1/tcp/1"])
    assert.deepStrictEqual(told.signedPeerRecord?.envelope, envelope)
    // One without addresses says nothing of where the peer is.
    const empty = accepted({ signedPeerRecord: alice.record([]), listenAddrs: [addr("/ip4/198.51.100.9/tcp/9").bytes] })
    assert.deepStrictEqual(empty.listenAddresses.map(String), ["/ip4/198.51.100.9/tcp/9"])
  })

  it("one that js-libp2p made (@libp2p/peer-record 9.0.16, of the key of 32 times 1)", () => {
    const envelope = Bytes.fromHex(
      "0a24080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c120203011a560a26002408011220" +
        "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c1080d095ffbc311a0a0a0804c6336401060fa1" +
        "1a190a172920010db800000000000000000000000191020fa1cd032a4098c45cf761550581bdf6cbb33dde3aebd02c1088271b" +
        "711573cb162ed1479043bcda33b8b752bcd7594e75eb74a0aa4baa4ebce2b9cfbd26053ddab48a47e90f"
    )
    assert.deepStrictEqual(accepted({ signedPeerRecord: envelope }).listenAddresses.map(String), [
      "/ip4/198.51.100.1/tcp/4001",
      "/ip6/2001:db8::1/udp/4001/quic-v1"
    ])
    // The same key, the same words: the same bytes.
    const ours = alice.record(["/ip4/198.51.100.1/tcp/4001", "/ip6/2001:db8::1/udp/4001/quic-v1"], 1_700_000_000_000n)
    assert.deepStrictEqual(ours, envelope)
  })

  it("the record of another peer refuses the message", () => {
    assert.include(refused({ signedPeerRecord: mallory.record([]) }), "that of another peer")
  })

  it("a record about another peer refuses it, whoever signed it", () => {
    const envelope = mallory.record(["/ip4/198.51.100.1/tcp/1"])
    const payload = Result.getOrThrow(
      SignedEnvelope.open(crypto, SignedEnvelope.peerRecordDomain, SignedEnvelope.peerRecordType, envelope)
    ).payload
    const forged = alice.seal(SignedEnvelope.peerRecordDomain, SignedEnvelope.peerRecordType, payload)
    assert.include(refused({ signedPeerRecord: forged }), `it is about ${mallory.peer.toString()}`)
  })

  it("a signature by another key, for another purpose, or of other bytes refuses it", () => {
    const mine = alice.record(["/ip4/198.51.100.1/tcp/1"])
    const payload = Result.getOrThrow(
      SignedEnvelope.open(crypto, SignedEnvelope.peerRecordDomain, SignedEnvelope.peerRecordType, mine)
    ).payload
    const otherDomain = alice.seal("another-domain", SignedEnvelope.peerRecordType, payload)
    assert.include(refused({ signedPeerRecord: otherDomain }), "signature does not hold")
    for (let i = 0; i < mine.length; i++) {
      const changed = mine.slice()
      changed[i] = (changed[i] ?? 0) ^ 1
      const result = reading({ signedPeerRecord: changed })
      // Every byte counts: none can be changed and the addresses still be taken as signed.
      if (Result.isSuccess(result)) assert.isUndefined(result.success.signedPeerRecord, `byte ${i}`)
    }
  })

  it("a truncated one refuses it, wherever it is cut", () => {
    const mine = alice.record(["/ip4/198.51.100.1/tcp/1"])
    for (let length = 1; length < mine.length; length++) {
      assert.include(refused({ signedPeerRecord: mine.subarray(0, length) }), "its peer record: ", `${length} bytes`)
    }
  })

  it("one of a format that is not known is passed over", () => {
    const older = alice.seal(
      "libp2p-routing-state",
      new TextEncoder().encode("/libp2p/routing-state-record"),
      alice.key
    )
    const told = accepted({ signedPeerRecord: older, listenAddrs: [addr("/ip4/198.51.100.9/tcp/9").bytes] })
    assert.isUndefined(told.signedPeerRecord)
    assert.lengthOf(told.listenAddresses, 1)
    assert.isUndefined(accepted({ signedPeerRecord: new Uint8Array(0) }).signedPeerRecord)
  })
})

describe("bounds", () => {
  const many = Array.from({ length: 1500 }, (_, i) => addr(`/ip4/198.51.${i >> 8}.${i & 255}/tcp/1`))

  it("addresses by the thousand", () => {
    const listenAddrs = many.map(({ bytes }) => bytes)
    assert.lengthOf(accepted({ listenAddrs }).listenAddresses, maxAddresses)
    const signed = accepted({ signedPeerRecord: alice.record(many.map(String)) })
    assert.lengthOf(signed.listenAddresses, maxAddresses)
    const first = accepted({ listenAddrs: [...listenAddrs.slice(0, 2), ...listenAddrs.slice(0, 2)] })
    assert.lengthOf(first.listenAddresses, 2)
    // However many there are, only so many are looked at: others may be slow to refuse.
    const unread = Array.from({ length: 3000 }, () => Uint8Array.of(0x7f, 0x7f))
    assert.lengthOf(accepted({ listenAddrs: [...unread.slice(0, 100), ...listenAddrs] }).listenAddresses, 28)
    assert.lengthOf(accepted({ listenAddrs: [...unread, ...listenAddrs] }).listenAddresses, 0)
  })

  it("protocols by the thousand, endless, empty or forged", () => {
    const protocols = Array.from({ length: 5000 }, (_, i) => `/${i}`)
    assert.lengthOf(accepted({ protocols }).protocols, maxProtocols)
    const odd = ["", "/ok", "/ok", "/".repeat(300), "/line\nbreak", "/esc\u001b[2J", "/right\u202eto left", "/日本"]
    assert.deepStrictEqual(accepted({ protocols: odd }).protocols, ["/ok", "/日本"])
  })

  it("what a peer calls itself is short and printable", () => {
    const told = accepted({ agentVersion: "go\u001b[31m\r\n\u202e/0.1", protocolVersion: "x".repeat(10_000) })
    assert.strictEqual(told.agentVersion, "go\ufffd[31m\ufffd\ufffd\ufffd/0.1")
    assert.lengthOf(told.protocolVersion ?? "", maxVersionLength)
  })

  it.effect.prop("whatever the bytes", [Schema.Uint8Array], ([bytes]) =>
    Effect.sync(() => {
      const decoded = Message.decode(bytes)
      if (Result.isSuccess(decoded)) interpret(decoded.success, alice.peer, crypto)
      interpret(message({ signedPeerRecord: bytes, publicKey: bytes, observedAddr: bytes }), alice.peer, crypto)
    })
  )
})

describe("keys", () => {
  it("the key of another refuses the message", () => {
    assert.include(refused({ publicKey: mallory.key }), `that of ${mallory.peer.toString()}`)
    assert.isString(refused({ publicKey: mallory.key.subarray(3) }))
  })

  it("an answer names its key; a change need not", () => {
    const told = accepted({ publicKey: undefined, agentVersion: "a" })
    assert.isTrue(Result.isFailure(whole(alice.peer, told)))
    assert.strictEqual(update(alice.peer, undefined, told)?.agentVersion, "a")
  })
})

describe("changes", () => {
  const before = Result.getOrThrow(
    whole(
      alice.peer,
      accepted({
        agentVersion: "a/1",
        protocolVersion: "p/1",
        protocols: ["/one"],
        listenAddrs: [addr("/ip4/198.51.100.1/tcp/1").bytes],
        observedAddr: addr("/ip4/192.0.2.1/tcp/1").bytes,
        signedPeerRecord: alice.record(["/ip4/198.51.100.1/tcp/1"])
      })
    )
  )

  it("what a message leaves out stays", () => {
    assert.deepStrictEqual(update(alice.peer, before, accepted({ publicKey: undefined })), before)
    const after = update(alice.peer, before, accepted({ protocols: ["/two"] }))
    assert.deepStrictEqual(after, { ...before, protocols: ["/two"] })
    const moved = update(alice.peer, before, accepted({ listenAddrs: [addr("/ip4/198.51.100.2/tcp/2").bytes] }))
    assert.deepStrictEqual(moved?.listenAddresses.map(String), ["/ip4/198.51.100.2/tcp/2"])
  })

  it("two joined are as if they had come one after the other", () => {
    const first = message({ protocols: ["/two"], signedPeerRecord: alice.record(["/ip4/198.51.100.5/tcp/5"]) })
    const second = message({ agentVersion: "a/2", listenAddrs: [addr("/ip4/198.51.100.2/tcp/2").bytes] })
    const both = Result.getOrThrow(interpret(join(first, second), alice.peer, crypto))
    const after = update(alice.peer, before, both)
    assert.deepStrictEqual(after?.protocols, ["/two"])
    assert.strictEqual(after?.agentVersion, "a/2")
    assert.deepStrictEqual(after?.listenAddresses.map(String), ["/ip4/198.51.100.2/tcp/2"])
  })
})
