import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Keys from "../../src/data/Keys.ts"
import * as Envelope from "../../src/data/messages/Envelope.ts"
import * as PeerRecord from "../../src/data/messages/PeerRecord.ts"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import * as NobleCrypto from "../../src/layers/crypto/NobleCrypto.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromKey from "../../src/layers/identity/FromKey.ts"
import { Crypto } from "../../src/services/Crypto.ts"
import { Identity } from "../../src/services/Identity.ts"
import * as SignedEnvelope from "../../src/services/SignedEnvelope.ts"
import { hex, vectors } from "../../src/conformance/Crypto.ts"
import { address, recordOf, someone } from "../../src/conformance/PeerStore.ts"

/** A record that go-libp2p signed, and the key, from the tests of js-libp2p. */
const go = {
  privateKey:
    "0801124085fbe72b6064289004a531f967898df5319ee02992fdd84021fa5052434bf6ee" +
    "11bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c4",
  envelope:
    "0a240801122011bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c4120203011aaa010a260024080112" +
    "2011bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c410d8b8e0bf9391b697161a0a0a080401020304" +
    "0600001a0a0a0804010203040600011a0a0a0804010203040600021a0a0a0804010203040600031a0a0a0804010203040600041a" +
    "0a0a0804010203040600051a0a0a0804010203040600061a0a0a0804010203040600071a0a0a0804010203040600081a0a0a0804" +
    "010203040600092a40b197f76b9f288af2b467fe666f774476287049b424b73975c8860efb02372d026a799584541ad72f265434" +
    "6485bca3ece36462b7d1b1391c8d276dc4ab8bca0b"
}

const addresses = [address("/ip4/192.0.2.1/tcp/1"), address("/dns4/example.com/tcp/443/tls/ws")]

const opening = Effect.map(Crypto, (crypto) => (bytes: Uint8Array) => SignedEnvelope.openPeerRecord(crypto, bytes))

/** What a refusal says. */
const refusal = (result: Result.Result<unknown, SignedEnvelope.EnvelopeError>): string =>
  Result.isFailure(result) ? result.failure.detail : assert.fail("it was taken")

/** Seals any payload as a peer record. */
const sealed = (identity: Identity["Service"], payload: Uint8Array, domain = SignedEnvelope.peerRecordDomain) =>
  SignedEnvelope.seal(domain, SignedEnvelope.peerRecordType, payload).pipe(Effect.provideService(Identity, identity))

for (const [name, layer] of [
  ["Node", NodeCrypto.layer],
  ["noble", NobleCrypto.layer]
] as const) {
  describe(`signed envelopes (${name})`, () => {
    const test = <E>(title: string, body: Effect.Effect<void, E, Crypto>) =>
      it.effect(title, () => Effect.provide(body, layer))

    test(
      "reads a record of go-libp2p, and signs the same one to the byte",
      Effect.gen(function* () {
        const envelope = hex(go.envelope)
        const record = Result.getOrThrow((yield* opening)(envelope))
        const identity = yield* IdentityFromKey.make(Result.getOrThrow(Keys.decodePrivateKey(hex(go.privateKey))))
        assert.strictEqual(record.peer.toString(), identity.peerId.toString())
        assert.isTrue(Keys.equals(record.publicKey, identity.publicKey))
        assert.strictEqual(record.sequence, 1598453001624231000n)
        assert.deepStrictEqual(
          record.addresses.map((one) => one.toString()),
          Array.from({ length: 10 }, (_, port) => `/ip4/1.2.3.4/tcp/${port}`)
        )
        assert.strictEqual(
          Bytes.toHex(yield* recordOf(identity, record.sequence, record.addresses)),
          Bytes.toHex(envelope)
        )
      })
    )

    test(
      "records by keys of every kind",
      Effect.gen(function* () {
        const open = yield* opening
        const { signer } = yield* Crypto
        let kinds = 0
        for (const { privateKey, publicKey } of vectors) {
          // The portable layer does not sign with all of them.
          if (Result.isFailure(signer(privateKey))) continue
          kinds += 1
          const identity = yield* IdentityFromKey.make(privateKey)
          const record = Result.getOrThrow(open(yield* recordOf(identity, 7n, addresses)))
          assert.strictEqual(record.peer.toString(), PeerId.fromPublicKey(publicKey).toString())
          assert.deepStrictEqual(record.addresses.map(String), addresses.map(String))
        }
        assert.isAtLeast(kinds, 3)
      })
    )

    test(
      "refuses a signature of another domain, type, payload or signer",
      Effect.gen(function* () {
        const open = yield* opening
        const [alice, mallory] = [yield* someone(1), yield* someone(2)]
        const payload = PeerRecord.encode({ peerId: alice.peerId.bytes, seq: 1n, addresses: [] })
        const good = Result.getOrThrow(Envelope.decode(yield* sealed(alice, payload)))
        const fails = "its signature does not hold"
        assert.strictEqual(refusal(open(yield* sealed(alice, payload, "libp2p-routing-state"))), fails)
        assert.strictEqual(refusal(open(yield* sealed(alice, payload, ""))), fails)
        const changed = PeerRecord.encode({ peerId: alice.peerId.bytes, seq: 2n, addresses: [] })
        assert.strictEqual(refusal(open(Envelope.encode({ ...good, payload: changed }))), fails)
        assert.strictEqual(refusal(open(Envelope.encode({ ...good, publicKey: mallory.publicKey }))), fails)
        assert.strictEqual(
          refusal(open(Envelope.encode({ ...good, payloadType: Uint8Array.of(3, 2) }))),
          "its payload is of another type"
        )
        assert.strictEqual(
          refusal(open(yield* sealed(mallory, payload))),
          `it is about ${alice.peerId.toString()}, but ${mallory.peerId.toString()} signed it`
        )
        // The parts are signed with their lengths: the bytes of one cannot be moved to the next.
        const shifted = yield* SignedEnvelope.seal(
          SignedEnvelope.peerRecordDomain,
          Bytes.concat([SignedEnvelope.peerRecordType, payload.subarray(0, 1)]),
          payload.subarray(1)
        ).pipe(Effect.provideService(Identity, alice))
        const { signature } = Result.getOrThrow(Envelope.decode(shifted))
        assert.strictEqual(refusal(open(Envelope.encode({ ...good, signature }))), fails)
      })
    )

    test(
      "refuses what is truncated, oversized or no record; keeps the addresses that it can read",
      Effect.gen(function* () {
        const open = yield* opening
        const alice = yield* someone(1)
        const envelope = yield* recordOf(alice, 1n, addresses)
        for (let size = 0; size < envelope.length; size++) {
          assert.isNotEmpty(refusal(open(envelope.subarray(0, size))), `${size} bytes`)
        }
        const large = Bytes.concat([envelope, Uint8Array.of(0x7a, 0x80, 0x80, 0x04), new Uint8Array(65_536)])
        assert.include(refusal(open(large)), "65536")
        assert.isNotEmpty(refusal(open(yield* sealed(alice, new Uint8Array(0)))))
        assert.isNotEmpty(refusal(open(yield* sealed(alice, Uint8Array.of(0xff, 0xff)))))
        const [known, ...rest] = addresses.map(({ bytes }) => bytes)
        if (known === undefined) return assert.fail()
        const odd = PeerRecord.encode({
          peerId: alice.peerId.bytes,
          seq: 1n,
          addresses: [known, Uint8Array.of(0xff, 0x01), new Uint8Array(0), ...rest]
        })
        assert.deepStrictEqual(
          Result.getOrThrow(open(yield* sealed(alice, odd))).addresses.map(String),
          addresses.map(String)
        )
      })
    )
  })
}

describe("signed envelopes", () => {
  it.effect("of a record with thousands of addresses, the first are read", () =>
    Effect.gen(function* () {
      const addresses = Array.from({ length: 3000 }, (_, i) =>
        Multiaddr.fromStringUnsafe(`/ip4/10.0.${i >> 8}.${i & 255}`)
      )
      const envelope = yield* recordOf(yield* someone(1), 1n, addresses)
      const record = Result.getOrThrow(SignedEnvelope.openPeerRecord(yield* Crypto, envelope))
      assert.deepStrictEqual(record.addresses.map(String), addresses.slice(0, SignedEnvelope.maxAddresses).map(String))
    }).pipe(Effect.provide(NodeCrypto.layer))
  )

  it.effect.prop("any change of a byte is refused", [Schema.Natural, Schema.Natural], ([at, by]) =>
    Effect.gen(function* () {
      const alice = yield* someone(1)
      const envelope = yield* recordOf(alice, 1n, addresses)
      const changed = envelope.slice()
      const index = at % changed.length
      changed[index] = (changed[index] ?? 0) ^ (1 + (by % 255))
      const result = (yield* opening)(changed)
      assert.isNotEmpty(refusal(result))
    }).pipe(Effect.provide(NodeCrypto.layer))
  )

  it.effect.prop("random bytes are refused", [Schema.Uint8Array], ([bytes]) =>
    Effect.gen(function* () {
      assert.isNotEmpty(refusal((yield* opening)(bytes)))
    }).pipe(Effect.provide(NodeCrypto.layer))
  )

  it.effect("an address is read as it was written", () =>
    Effect.gen(function* () {
      const alice = yield* someone(3)
      const long = address(`/ip4/192.0.2.1/tcp/1/p2p/${alice.peerId.toString()}`)
      const record = Result.getOrThrow((yield* opening)(yield* recordOf(alice, 0n, [long])))
      assert.isTrue(record.addresses.every((one) => Multiaddr.equals(one, long)))
      assert.strictEqual(record.sequence, 0n)
    }).pipe(Effect.provide(NodeCrypto.layer))
  )
})
