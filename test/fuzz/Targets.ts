/**
 * What is fuzzed: every decoder that a remote can reach, as a function of the
 * bytes that it sends. A target runs one input and says what came of it in a
 * few words without numbers; an input whose words are new is worth keeping. It
 * throws when a property does not hold: nothing else may throw.
 */
import assert from "node:assert/strict"
import { Effect, Layer, Result } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as ContentKey from "../../src/data/ContentKey.ts"
import * as DagCbor from "../../src/data/DagCbor.ts"
import * as IprsRecord from "../../src/data/iprs/Record.ts"
import * as Keys from "../../src/data/Keys.ts"
import * as LengthPrefix from "../../src/data/LengthPrefix.ts"
import * as Exchange from "../../src/data/messages/Exchange.ts"
import * as Envelope from "../../src/data/messages/Envelope.ts"
import * as IdentifyMessage from "../../src/data/messages/Identify.ts"
import * as Kad from "../../src/data/messages/Kad.ts"
import * as NoisePayload from "../../src/data/messages/NoisePayload.ts"
import * as PeerRecord from "../../src/data/messages/PeerRecord.ts"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import * as PublicKeyRecord from "../../src/data/PublicKeyRecord.ts"
import * as Varint from "../../src/data/Varint.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as FromSeed from "../../src/layers/identity/FromSeed.ts"
import * as Announcement from "../../src/layers/mdns/core/Announcement.ts"
import * as Known from "../../src/layers/mdns/core/Known.ts"
import { linksOf } from "../../src/layers/mdns/core/Links.ts"
import * as MdnsNames from "../../src/layers/mdns/core/Names.ts"
import * as MdnsPacket from "../../src/layers/mdns/core/Packet.ts"
import type { Session } from "../../src/layers/muxer/internal/Session.ts"
import type { StreamState } from "../../src/layers/muxer/internal/StreamState.ts"
import * as MplexLimits from "../../src/layers/muxer/mplex/Limits.ts"
import * as MplexSession from "../../src/layers/muxer/mplex/Session.ts"
import * as YamuxFrame from "../../src/layers/muxer/yamux/Frame.ts"
import * as YamuxLimits from "../../src/layers/muxer/yamux/Limits.ts"
import * as YamuxSession from "../../src/layers/muxer/yamux/Session.ts"
import { frame, FrameReader } from "../../src/layers/security/noise/Frames.ts"
import { HandshakeState } from "../../src/layers/security/noise/HandshakeState.ts"
import * as Proof from "../../src/layers/security/noise/Proof.ts"
import * as Certificate from "../../src/layers/security/tls/Certificate.ts"
import * as TlsProof from "../../src/layers/security/tls/Proof.ts"
import * as Multistream from "../../src/layers/swarm/negotiation/Multistream.ts"
import { Identity } from "../../src/services/Identity.ts"
import * as Iprs from "../../src/services/Iprs.ts"
import * as SignedEnvelope from "../../src/services/SignedEnvelope.ts"
import { vectors as certificates } from "../layers/security/tls/vectors.ts"
import * as Mutate from "./Mutate.ts"

export interface Target {
  readonly name: string
  readonly grammar: Mutate.Grammar
  readonly seeds: ReadonlyArray<Uint8Array>
  /** What came of it, in words that do not depend on numbers. */
  readonly run: (input: Uint8Array) => string
}

const crypto = NodeCrypto.make()
const run = <A>(effect: Effect.Effect<A, never, Identity>): A =>
  Effect.runSync(
    effect.pipe(
      Effect.provide(FromSeed.layer(new Uint8Array(32).fill(7)).pipe(Layer.provide(NodeCrypto.layer))),
      Effect.orDie
    )
  )
const identity = run(Identity)
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"))
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** An error's words without what changes from input to input. */
const words = (text: string): string =>
  text
    .replaceAll(/"(?:[^"\\]|\\.)*"|`[^`]*`/g, "“”")
    .replaceAll(/[0-9a-zA-Z/+]{20,}|\d+|[^ -~“”]+/g, "#")
    .slice(0, 120)

/** A decoder and its encoder: what is read is written and read again as the same. */
const message = <A>(
  name: string,
  seeds: ReadonlyArray<Uint8Array>,
  decode: (bytes: Uint8Array) => Result.Result<A, { readonly message: string }>,
  encode: (value: A) => Uint8Array,
  shape: (value: A) => string,
  grammar = Mutate.protobuf
): Target => ({
  name,
  grammar,
  seeds,
  run: (input) => {
    const read = decode(input)
    if (Result.isFailure(read)) return words(read.failure.message)
    const written = encode(read.success)
    // Text that was no UTF-8 is longer when it is written again: it may be over the limit then.
    if (written.length > input.length) return `longer ${shape(read.success)}`
    const again = decode(written)
    assert.ok(Result.isSuccess(again), "what was read and written cannot be read")
    assert.deepEqual(again.success, read.success)
    return `ok ${shape(read.success)}`
  }
})

const some = (value: unknown): string => (value === undefined ? "-" : "+")
const many = (list: ReadonlyArray<unknown>): string => (list.length > 2 ? "n" : String(list.length))

const addresses = [
  "/ip4/192.0.2.1/tcp/4001",
  "/ip6/2001:db8::1/udp/4001/quic-v1",
  "/dns4/example.org/tcp/443/wss",
  "/dnsaddr/bootstrap.libp2p.io",
  `/ip4/192.0.2.1/tcp/1/p2p/${identity.peerId.toString()}/p2p-circuit`,
  "/unix/tmp%2Fsocket",
  "/memory/1234"
].map(Multiaddr.fromStringUnsafe)

const peerRecord = run(SignedEnvelope.sealPeerRecord(addresses.slice(0, 2), 5n))

const identifyMessage = IdentifyMessage.encode({
  publicKey: Keys.encodePublicKey(identity.publicKey),
  listenAddrs: addresses.map((address) => address.bytes),
  protocols: ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"],
  observedAddr: addresses[0]?.bytes,
  protocolVersion: "ipfs/0.1.0",
  agentVersion: "test/1",
  signedPeerRecord: peerRecord
})

const kadPeer: Kad.Peer = {
  id: identity.peerId.bytes,
  addrs: addresses.map(({ bytes }) => bytes),
  connection: "CanConnect"
}
const kadMessages = [
  Kad.make("FindNode", { key: identity.peerId.bytes, closerPeers: [kadPeer, { ...kadPeer, addrs: [] }] }),
  Kad.make("AddProvider", { key: new Uint8Array(34).fill(18), providerPeers: [kadPeer] }),
  Kad.make("PutValue", {
    key: utf8("/example/key"),
    record: { key: utf8("/example/key"), value: utf8("value"), timeReceived: "2026-01-01T00:00:00Z" }
  }),
  Kad.make("Ping")
]
const cids = [
  "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
  "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
  "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
  "F01701220C3C4733EC8AFFD06CF9E9FF50FFC6BCD2EC85A6170004BB709669C31DE94391A"
]

const staticKey = crypto.dhKeyPair(new Uint8Array(32).fill(1))
const otherKey = crypto.dhKeyPair(new Uint8Array(32).fill(2))
const noisePayload = Proof.encode(identity.publicKey, identity.sign(Proof.signedBytes(staticKey.publicKey)), [
  "/yamux/1.0.0",
  "/mplex/6.7.0"
])

const ephemeral = (fill: number) => crypto.dhKeyPair(new Uint8Array(32).fill(fill))
const side = (role: "initiator" | "responder") =>
  new HandshakeState(crypto, {
    role,
    staticKey: role === "initiator" ? otherKey : staticKey,
    ephemeralKey: ephemeral(role === "initiator" ? 3 : 4)
  })

/** The bytes that each side sends in a handshake that goes well. */
const transcript = (() => {
  const initiator = side("initiator")
  const responder = side("responder")
  const first = Result.getOrThrow(initiator.write(new Uint8Array(0)))
  Result.getOrThrow(responder.read(first))
  const second = Result.getOrThrow(responder.write(noisePayload))
  Result.getOrThrow(initiator.read(second))
  const third = Result.getOrThrow(initiator.write(noisePayload))
  return { dialer: Bytes.concat([frame(first), frame(third)]), listener: frame(second) }
})()

/** One side of Noise, fed with frames as the other side would send them. */
const handshake =
  (role: "initiator" | "responder") =>
  (input: Uint8Array): string => {
    const state = side(role)
    const frames = new FrameReader()
    frames.feed(input)
    const said: Array<string> = []
    if (role === "initiator") Result.getOrThrow(state.write(new Uint8Array(0)))
    for (let turn = 0; turn < 4; turn++) {
      const next = frames.next()
      if (next === undefined) return `${said.join(" ")} waits`
      const read = state.read(next)
      if (Result.isFailure(read)) return `${said.join(" ")} ${words(read.failure.detail)}`
      said.push(read.success.length === 0 ? "empty" : "payload")
      const proof = Proof.check(crypto.verify, read.success, state.remoteStatic)
      said.push(Result.isSuccess(proof) ? "proven" : words(proof.failure.detail))
      if (state.ciphers !== undefined) return `${said.join(" ")} done`
      const wrote = state.write(noisePayload)
      if (Result.isFailure(wrote)) return `${said.join(" ")} ${words(wrote.failure.detail)}`
    }
    return said.join(" ")
  }

const yamuxFrame = (
  type: number,
  flags: number,
  stream: number,
  length: number,
  body: Uint8Array = new Uint8Array(0)
) => {
  const header = new Uint8Array(12)
  const view = new DataView(header.buffer)
  header[1] = type
  view.setUint16(2, flags)
  view.setUint32(4, stream)
  view.setUint32(8, length)
  return Bytes.concat([header, body])
}

const { flagAck, flagFin, flagRst, flagSyn, typeData, typeGoAway, typePing, typeWindowUpdate } = YamuxFrame
const yamuxSeeds = [
  Bytes.concat([
    yamuxFrame(typeWindowUpdate, flagSyn, 1, 0),
    yamuxFrame(typeData, 0, 1, 5, utf8("hello")),
    yamuxFrame(typeData, flagFin, 1, 0),
    yamuxFrame(typePing, flagSyn, 0, 42)
  ]),
  Bytes.concat([
    yamuxFrame(typeData, flagSyn, 3, 3, utf8("abc")),
    yamuxFrame(typeWindowUpdate, flagAck, 2, 65_536),
    yamuxFrame(typeData, flagRst, 3, 0),
    yamuxFrame(typeGoAway, 0, 0, 0)
  ]),
  Bytes.concat([yamuxFrame(typeData, flagSyn | flagFin, 5, 2, utf8("ok")), yamuxFrame(typePing, flagAck, 0, 1)])
]

/** Feeds either muxer's session; what it answers may not outgrow what the remote has sent by much. */
const runSession =
  <S extends StreamState>(make: () => Session<S>) =>
  (input: Uint8Array): string => {
    const session = make()
    session.open()
    let now = 0
    let out = 0
    const accepted: Array<S> = []
    for (let at = 0; at < input.length; at += 1000) {
      session.receive(input.subarray(at, at + 1000), (now += 1))
      for (let stream = session.accept(); stream !== undefined; stream = session.accept()) {
        accepted.push(stream)
        session.write(stream, utf8("answer"))
      }
      for (const stream of accepted) {
        if (session.read(stream, now) === null) session.closeWrite(stream)
      }
      session.takeTouched()
      assert.ok(session.streamCount <= 65, `${session.streamCount} streams`)
      session.drain((bytes) => {
        out += bytes.length
        return bytes.length
      })
      if (session.ended !== undefined) break
    }
    assert.ok(out <= 24 * input.length + 4096, `${out} bytes in answer to ${input.length}`)
    const { ended } = session
    return `${accepted.length > 2 ? "n" : accepted.length} streams, ${session.streamCount > 1 ? "open" : "closed"} ${
      ended === undefined ? "" : words("detail" in ended ? ended.detail : ended._tag)
    }`
  }

const few = { maxInboundStreams: 64, acceptBacklog: 16 }

const mplexMessage = (id: number, flag: number, body: Uint8Array = new Uint8Array(0)) =>
  Bytes.concat([Varint.encode(id * 8 + flag), Varint.encode(body.length), body])

const lines = (...protocols: ReadonlyArray<string>) =>
  Bytes.concat(protocols.map((line) => LengthPrefix.encode(utf8(`${line}\n`))))

/** A negotiation, fed in two pieces. */
const negotiate =
  (make: () => Multistream.Dialer | Multistream.Listener) =>
  (input: Uint8Array): string => {
    const machine = make()
    const half = input.length >> 1
    const said: Array<string> = []
    for (const part of [input.subarray(0, half), input.subarray(half)]) {
      const step = machine.receive(part)
      const answer = machine.takeOutput()
      assert.ok(answer.length <= 64 * (input.length + 1024), "it says too much")
      said.push(
        step._tag === "Failed" ? words("detail" in step.failure ? step.failure.detail : step.failure._tag) : step._tag
      )
      if (step._tag !== "More") break
    }
    return said.join(" ")
  }

const publicKeys = {
  Ed25519: "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
  secp256k1: "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99",
  ECDSA:
    "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62"
}

const certificatePeers = [
  "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv",
  "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE",
  "16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs"
]

// ---- records of IPRS, one of each kind that there is

const iprs = Iprs.keyScheme(crypto, {
  beacons: { beacon: { publishedAt: (proof) => (proof.length === 1 ? proof[0] : undefined) } }
})
const iprsName = Iprs.nameOf("app", identity.peerId)
const iprsRecord = (when: Iprs.When) => run(Effect.orDie(Iprs.sign(iprsName, utf8("value"), when)))
const iprsFirst = iprsRecord(Iprs.after([]))
const iprsRecords = [
  iprsFirst,
  iprsRecord(Iprs.after([iprsFirst])),
  iprsRecord(Iprs.range({ from: 0, until: 100, sequence: 300 })),
  iprsRecord({ validity: { type: "ttl", made: 0, ttl: 100 }, sequence: 0 }),
  iprsRecord(Iprs.fresh("beacon", Uint8Array.of(7), "1 second"))
]

// ---- packets of the local network

const lanLinks = linksOf([{ name: "eth0", host: "192.0.2.9", family: 4, internal: false, prefixLength: 24 }], "all")
const lanService = MdnsNames.serviceOf()
const lanServices = new Set([lanService])
const lanSelf = { peer: identity.peerId, name: "a".repeat(32), service: lanService }
const mdnsSeeds = lanLinks.flatMap((link) => [
  MdnsPacket.encode(Announcement.hello(lanSelf, link, addresses.slice(0, 1))),
  MdnsPacket.encode(Announcement.goodbye(lanSelf)),
  MdnsPacket.encode({
    kind: "query",
    questions: [
      { name: lanService, type: "PTR" },
      { name: MdnsNames.meta, type: "PTR" }
    ],
    answers: [
      {
        name: MdnsNames.knownOf(lanService),
        ttl: 120,
        flush: false,
        type: "TXT",
        texts: Known.encode({ shares: 2, share: 1, digests: [1, 2, 3] })
      }
    ],
    additionals: []
  })
])

/** The targets, by name. */
export const targets: ReadonlyArray<Target> = [
  message(
    "identify",
    [identifyMessage, IdentifyMessage.encode({ listenAddrs: [], protocols: [] })],
    IdentifyMessage.decode,
    IdentifyMessage.encode,
    (value) =>
      [value.publicKey, value.observedAddr, value.agentVersion, value.protocolVersion, value.signedPeerRecord]
        .map(some)
        .join("") +
      many(value.listenAddrs) +
      many(value.protocols)
  ),
  message("noise-payload", [noisePayload], NoisePayload.decode, NoisePayload.encode, (value) =>
    [value.identityKey, value.identitySig, value.extensions].map(some).join("")
  ),
  message("envelope", [peerRecord], Envelope.decode, Envelope.encode, (value) => value.publicKey.type),
  message(
    "peer-record",
    [PeerRecord.encode({ peerId: identity.peerId.bytes, seq: 7n, addresses: addresses.map(({ bytes }) => bytes) })],
    PeerRecord.decode,
    PeerRecord.encode,
    (value) => `${value.seq > 2n ** 53n ? "large" : "small"} ${many(value.addresses)}`
  ),
  message(
    "kad",
    kadMessages.map(Kad.encode),
    (input) => Kad.decode(input),
    Kad.encode,
    (value) =>
      `${value.type} ${some(value.record)}${many(value.closerPeers)}${many(value.providerPeers)} ${
        value.closerPeers[0]?.connection ?? ""
      }`
  ),
  {
    name: "content-key",
    grammar: Mutate.plain,
    seeds: [
      ...cids.map(utf8),
      ...cids.map((cid) => Bytes.concat([Uint8Array.of(1, 0x70), Result.getOrThrow(ContentKey.fromString(cid))]))
    ],
    run: (input) => {
      const key = ContentKey.fromBytes(input)
      const text = ContentKey.fromString(new TextDecoder("latin1").decode(input))
      for (const read of [key, text]) {
        if (Result.isFailure(read)) continue
        assert.ok(read.success.length <= ContentKey.maxSize)
        assert.ok(Result.isSuccess(ContentKey.fromMultihash(read.success)))
        assert.deepEqual(Result.getOrThrow(ContentKey.fromString(ContentKey.toText(read.success))), read.success)
      }
      return [key, text].map((one) => (Result.isSuccess(one) ? "ok" : words(one.failure.detail))).join(" ")
    }
  },
  {
    name: "signed-record",
    grammar: Mutate.protobuf,
    seeds: [peerRecord],
    run: (input) => {
      const opened = SignedEnvelope.openPeerRecord(crypto, input)
      if (Result.isFailure(opened)) return words(opened.failure.detail)
      // Nobody but this node could have signed it.
      assert.ok(PeerId.equals(opened.success.peer, identity.peerId))
      assert.equal(opened.success.sequence, 5n)
      return "ok"
    }
  },
  {
    name: "keys",
    grammar: Mutate.protobuf,
    seeds: Object.values(publicKeys).map(hex),
    run: (input) => {
      const key = Keys.decodePublicKey(input)
      const privateKey = Keys.decodePrivateKey(input)
      const signer = Result.isSuccess(privateKey) ? crypto.signer(privateKey.success) : undefined
      if (Result.isFailure(key)) return `${words(key.failure.message)} ${signer?._tag ?? ""}`
      assert.ok(PeerId.matchesPublicKey(PeerId.fromPublicKey(key.success), key.success))
      const verified = crypto.verify(key.success, utf8("message"), new Uint8Array(64))
      return `${key.success.type} ${Result.isSuccess(verified) ? verified.success : words(verified.failure.detail)}`
    }
  },
  {
    name: "peer-id",
    grammar: Mutate.plain,
    seeds: [identity.peerId.bytes, utf8(identity.peerId.toString())],
    run: (input) => {
      const id = PeerId.fromBytes(input)
      const text = PeerId.fromString(new TextDecoder("latin1").decode(input))
      if (Result.isSuccess(id)) assert.ok(Result.isSuccess(PeerId.fromString(id.success.toString())))
      return [id, text].map((one) => (Result.isSuccess(one) ? "ok" : words(one.failure.detail))).join(" ")
    }
  },
  {
    name: "multiaddr",
    grammar: Mutate.plain,
    seeds: addresses.map(({ bytes }) => bytes),
    run: (input) => {
      const read = Multiaddr.fromBytes(input)
      if (Result.isFailure(read)) return words(read.failure.detail)
      const text = read.success.toString()
      const again = Multiaddr.fromString(text)
      assert.ok(Result.isSuccess(again), `${text} cannot be read back`)
      return `ok ${text
        .split("/")
        .filter((part) => /^[a-z][a-z0-9-]*$/.test(part))
        .slice(0, 6)
        .join("/")}`
    }
  },
  {
    name: "multiaddr-text",
    grammar: Mutate.slashes,
    seeds: addresses.map((address) => utf8(address.toString())),
    run: (input) => {
      const read = Multiaddr.fromString(new TextDecoder("latin1").decode(input))
      if (Result.isFailure(read)) return words(read.failure.detail)
      const again = Multiaddr.fromBytes(read.success.bytes)
      assert.ok(Result.isSuccess(again) && Multiaddr.equals(again.success, read.success))
      return "ok"
    }
  },
  {
    name: "length-prefix",
    grammar: Mutate.prefixed,
    seeds: [Bytes.concat([utf8("one"), utf8("two"), new Uint8Array(300)].map(LengthPrefix.encode))],
    run: (input) => {
      const decoder = new LengthPrefix.Decoder(1024)
      let count = 0
      for (let at = 0; at < input.length; at += 7) {
        decoder.push(input.subarray(at, at + 7))
        for (;;) {
          const next = decoder.next()
          if (next === undefined) break
          if (!(next instanceof Uint8Array)) return `${many(Array.from({ length: count }))} ${words(next.detail)}`
          assert.ok(next.length <= 1024)
          count++
        }
      }
      return `${count > 2 ? "n" : count} ${decoder.partial}`
    }
  },
  {
    name: "varint",
    grammar: Mutate.plain,
    seeds: [0, 127, 128, 2 ** 32, Number.MAX_SAFE_INTEGER].map(Varint.encode),
    run: (input) => {
      const read = Varint.decode(input, 0)
      if (read._tag !== "Complete") return JSON.stringify(read)
      assert.deepEqual(Varint.encode(read.value), input.subarray(0, read.size))
      return `ok ${read.size}`
    }
  },
  {
    name: "multistream-listener",
    grammar: Mutate.prefixed,
    seeds: [
      lines("/multistream/1.0.0", "/noise"),
      lines("/multistream/1.0.0", "ls", "/tls/1.0.0", "/yamux/1.0.0"),
      lines("/multistream/1.0.0", "/unknown", "/noise")
    ],
    run: negotiate(
      () =>
        new Multistream.Listener(
          (protocol) => protocol === "/noise" || protocol === "/yamux/1.0.0",
          () => ["/noise", "/yamux/1.0.0"]
        )
    )
  },
  {
    name: "multistream-dialer",
    grammar: Mutate.prefixed,
    seeds: [
      lines("/multistream/1.0.0", "/noise"),
      lines("/multistream/1.0.0", "na", "/tls/1.0.0"),
      lines("/multistream/1.0.0", "na", "na")
    ],
    run: negotiate(() => new Multistream.Dialer(["/noise", "/tls/1.0.0"]))
  },
  {
    name: "noise-listener",
    grammar: Mutate.noise,
    seeds: [transcript.dialer],
    run: handshake("responder")
  },
  {
    name: "noise-dialer",
    grammar: Mutate.noise,
    seeds: [transcript.listener],
    run: handshake("initiator")
  },
  {
    name: "yamux",
    grammar: Mutate.yamux,
    seeds: yamuxSeeds,
    run: runSession(() => new YamuxSession.Session(false, { ...YamuxLimits.defaults, ...few }, 0))
  },
  {
    name: "mplex",
    grammar: Mutate.mplex,
    seeds: [
      Bytes.concat([mplexMessage(0, 0, utf8("0")), mplexMessage(0, 2, utf8("hello")), mplexMessage(0, 4)]),
      Bytes.concat([
        mplexMessage(5, 0, utf8("name")),
        mplexMessage(5, 2, utf8("abc")),
        mplexMessage(5, 6),
        mplexMessage(0, 1, utf8("answer")),
        mplexMessage(0, 3)
      ])
    ],
    run: runSession(() => new MplexSession.Session(false, { ...MplexLimits.defaults, ...few }, 0))
  },
  message(
    "plaintext-exchange",
    [Exchange.encode({ id: identity.peerId.bytes, publicKey: Keys.encodePublicKey(identity.publicKey) })],
    Exchange.decode,
    Exchange.encode,
    (value) => [value.id, value.publicKey].map(some).join("")
  ),
  {
    name: "tls-certificate",
    grammar: Mutate.der,
    seeds: Object.values(certificates),
    run: (input) => {
      const read = Certificate.read(input)
      const proof = TlsProof.check(crypto.verify, input, Date.UTC(2026, 0, 1))
      if (Result.isSuccess(proof)) {
        // Only the three of the specification are signed as they must be.
        assert.ok(certificatePeers.includes(PeerId.fromPublicKey(proof.success).toString()))
        return `proven ${proof.success.type}`
      }
      return `${Result.isSuccess(read) ? "read" : "unread"} ${words(proof.failure.detail)}`
    }
  },
  {
    name: "dag-cbor",
    grammar: Mutate.cbor,
    seeds: [
      ...iprsRecords.map(({ bytes }) => bytes),
      Result.getOrThrow(DagCbor.encode([null, true, -1, 1.5, 2n ** 60n, { a: [{}], bb: "text" }, iprsFirst.link]))
    ],
    run: (input) => {
      const read = DagCbor.decode(input)
      if (Result.isFailure(read)) return words(read.failure.detail)
      assert.deepEqual(Result.getOrThrow(DagCbor.encode(read.success)), input)
      return `ok ${Array.isArray(read.success) ? "list" : typeof read.success}`
    }
  },
  {
    name: "iprs-record",
    grammar: Mutate.cbor,
    seeds: iprsRecords.map(({ bytes }) => bytes),
    run: (input) => {
      const record = IprsRecord.decode(input)
      if (Result.isFailure(record)) return words(record.failure)
      assert.deepEqual(record.success.bytes, input)
      const verified = Iprs.verify(iprs, iprsName, input, 50)
      const known = iprsRecords.some(({ bytes }) => Bytes.equals(bytes, input))
      // Nobody but this node could have signed it.
      assert.equal(Result.isSuccess(verified), known, Result.isFailure(verified) ? verified.failure.message : "")
      for (const other of iprsRecords) {
        const order = Iprs.compare(iprs, record.success, other)
        assert.equal(Math.sign(order), -Math.sign(Iprs.compare(iprs, other, record.success)) || 0)
        assert.equal(order === 0, Bytes.equals(other.bytes, input))
      }
      const { type } = record.success.validity
      return `${type} ${Result.isSuccess(verified) ? "ok" : verified.failure.reason._tag}`
    }
  },
  {
    name: "public-key-record",
    grammar: Mutate.protobuf,
    seeds: Object.values(publicKeys).map(hex),
    run: (input) => {
      // The bytes are the value under its own key, and after the first 4 the key under which a known value is.
      const key = Keys.decodePublicKey(input)
      const own = Result.isSuccess(key) ? PublicKeyRecord.keyOf(PeerId.fromPublicKey(key.success)) : utf8("/pk/")
      const asValue = PublicKeyRecord.validate(own, input)
      assert.equal(asValue === undefined, Result.isSuccess(key))
      const named = Bytes.concat([utf8("/pk/"), input])
      const asKey = PublicKeyRecord.validate(named, Keys.encodePublicKey(identity.publicKey))
      assert.equal(asKey === undefined, Bytes.equals(input, identity.peerId.bytes))
      return [asValue, asKey].map((said) => words(said ?? "ok")).join(" ")
    }
  },
  {
    name: "mdns",
    grammar: Mutate.plain,
    seeds: [
      ...mdnsSeeds,
      // Names by pointers, as others write them.
      hex(
        "000084000000000100000001045f703270045f756470056c6f63616c00000c00010000007800040178c00cc027001080010000007800050161026263"
      )
    ],
    run: (input) => {
      const read = MdnsPacket.decode(input)
      if (Result.isFailure(read)) return words(read.failure.detail)
      const { additionals, answers, kind, questions } = read.success
      assert.ok(questions.length <= 64 && answers.length + additionals.length <= 512)
      const [link] = lanLinks
      if (link === undefined) return "no link"
      const { gone, heard } = Announcement.read(read.success, link, lanServices)
      // Nothing that leads out of the local network is heard.
      for (const { addresses } of heard) {
        for (const address of addresses) assert.ok(address.toString().startsWith("/ip4/192.0.2."), address.toString())
      }
      const known = answers.flatMap((rec) => (rec.type === "TXT" ? [Known.decode(rec.texts)] : []))
      return `${kind} ${many(questions)} ${many(answers)}${many(additionals)} ${many(heard)}${many(gone)} ${some(known[0])}`
    }
  }
]
