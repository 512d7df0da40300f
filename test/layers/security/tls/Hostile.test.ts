import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as Pipe from "../../../../src/layers/internal/Pipe.ts"
import * as Proof from "../../../../src/layers/security/tls/Proof.ts"
import * as ByteStream from "../../../../src/services/ByteStream.ts"
import type { Role } from "../../../../src/services/ConnectionSecurity.ts"
import { connect, pattern, streamFailure } from "../../../../src/conformance/ConnectionSecurity.ts"
import { hex } from "../../../../src/conformance/Crypto.ts"
import { lyingCertificates } from "./lies.ts"
import { certificate, certPem, mallory, meet, node, refusal, type RemoteOptions, victim } from "./remote.ts"

const roles = ["dialer", "listener"] as const
const yamux = "/yamux/1.0.0"
const mplex = "/mplex/6.7.0"

/** An RSA certificate of Mallory's: valid, and of use for making TLS quarrel about algorithms. */
const rsa = (() => {
  const { privateKey, publicKey } = NodeCrypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
  const spki = Uint8Array.from(publicKey.export({ type: "spki", format: "der" }))
  const der = certificate({
    publicKey: spki,
    algorithm: hex("300d06092a864886f70d01010b0500"),
    sign: (signed) => NodeCrypto.sign("sha256", signed, privateKey),
    extensions: [Proof.extension(mallory.publicKey, mallory.sign(Proof.signedBytes(spki)))]
  })
  return { cert: certPem(der), key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() }
})()

describe("Tls: a remote with a certificate that proves nothing", () => {
  for (const role of roles) {
    for (const { der, title, words } of lyingCertificates) {
      it.live(`as ${role}: ${title}`, () =>
        Effect.gen(function* () {
          const reason = yield* refusal(role, { cert: certPem(der) })
          if (reason._tag !== "BadIdentity") return assert.fail(reason._tag)
          assert.match(reason.detail, words)
        })
      )
    }

    for (const [title, second] of [
      ["the same", certificate()],
      ["one of its issuer's name", certificate({ serial: Uint8Array.of(1, 2, 3), extensions: [] })],
      ["one unrelated", certificate({ serial: Uint8Array.of(9) })]
    ] as const) {
      it.live(`as ${role}: two certificates, the second ${title}`, () =>
        Effect.gen(function* () {
          const reason = yield* refusal(role, { cert: certPem(certificate()) + certPem(second) })
          if (reason._tag !== "BadIdentity") return assert.fail(reason._tag)
          assert.strictEqual(reason.detail, "the remote sent more than one certificate")
        })
      )
    }
  }

  it.live("as listener: no certificate", () =>
    Effect.gen(function* () {
      const reason = yield* refusal("listener", { cert: undefined, key: undefined })
      if (reason._tag !== "BadIdentity") return assert.fail(reason._tag)
      assert.strictEqual(reason.detail, "the remote sent no certificate")
    })
  )

  it.live("as dialer: a listener that is not the one dialled, though its certificate is good", () =>
    Effect.gen(function* () {
      const { left, secured, writes } = yield* meet("dialer", {}, { expectedPeer: victim.peerId })
      const { reason } = Result.isFailure(secured) ? secured.failure : assert.fail("it was accepted")
      if (reason._tag !== "WrongPeer") return assert.fail(reason._tag)
      assert.deepStrictEqual([reason.expected, reason.actual], [victim.peerId.toString(), mallory.peerId.toString()])
      assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
      // It is not told who dialled: nothing was sent but the first message.
      assert.strictEqual(writes, 1)
      const accepted = yield* meet("dialer", {}, { expectedPeer: mallory.peerId })
      assert.isTrue(Result.isSuccess(accepted.secured))
      assert.isAbove(accepted.writes, 1)
    })
  )
})

describe("Tls: by the node's clock", () => {
  it.effect("a certificate is valid from an hour before the start for a hundred years", () =>
    Effect.gen(function* () {
      const [dialer, listener] = [yield* node(1), yield* node(2)]
      yield* connect(dialer, listener)
      yield* TestClock.setTime(-60 * 60 * 1000)
      yield* connect(dialer, listener)
      yield* TestClock.setTime(-60 * 60 * 1000 - 1)
      const early = yield* Effect.flip(connect(dialer, listener))
      assert.match(early.message, /not valid before 1969-12-31T23:00:00Z/)
      yield* TestClock.setTime(100 * 365 * 24 * 60 * 60 * 1000 + 1)
      const late = yield* Effect.flip(connect(dialer, listener))
      assert.match(late.message, /expired on 2069-12-07T00:00:00Z/)
    })
  )
})

describe("Tls: negotiation with other kinds of nodes", () => {
  const cases: ReadonlyArray<readonly [string, Role, RemoteOptions, string | undefined]> = [
    ["a remote that knows early muxers", "listener", { ALPNProtocols: [mplex, yamux, "libp2p"] }, mplex],
    ["a remote that has none of ours", "listener", { ALPNProtocols: ["/other", "libp2p"] }, undefined],
    ["a remote that does not offer to do without", "listener", { ALPNProtocols: [yamux] }, yamux],
    ["a remote without early muxers", "listener", { ALPNProtocols: ["libp2p"] }, undefined],
    ["a remote without ALPN", "listener", {}, undefined],
    ["a remote that knows early muxers", "dialer", { ALPNProtocols: [mplex, "libp2p"] }, mplex],
    ["a remote without early muxers", "dialer", { ALPNProtocols: ["libp2p"] }, undefined],
    ["a remote without ALPN", "dialer", {}, undefined]
  ]
  for (const [title, role, options, muxer] of cases) {
    it.live(`as ${role}: ${title}`, () =>
      Effect.gen(function* () {
        const { remote, secured, us } = yield* meet(role, options, { muxers: [yamux, mplex] })
        const connection = Result.getOrThrow(secured)
        assert.strictEqual(connection.earlyMuxer, muxer)
        assert.isTrue(PeerId.equals(connection.remotePeer, mallory.peerId))
        yield* ByteStream.write(connection, pattern(5))
        yield* Effect.promise(() => remote.secured)
        const seen = remote.socket.getPeerX509Certificate()
        assert.isTrue(seen?.checkIssued(seen))
        assert.strictEqual(remote.socket.getProtocol(), "TLSv1.3")
        if (role === "dialer") assert.isNotOk(remote.socket.servername)
        assert.strictEqual(us.protocol.id, "/tls/1.0.0")
        const got = yield* Effect.promise(
          () => new Promise<Uint8Array>((resolve) => remote.socket.once("data", (bytes) => resolve(bytes)))
        )
        assert.deepStrictEqual(Uint8Array.from(got), pattern(5))
        remote.socket.write(pattern(7))
        assert.deepStrictEqual(yield* ByteStream.read(connection), pattern(7))
      })
    )
  }

  const refused: ReadonlyArray<readonly [string, Role, RemoteOptions, RegExp]> = [
    ["no protocol in common", "listener", { ALPNProtocols: ["h2"] }, /no application protocol/],
    ["no protocol in common", "dialer", { ALPNProtocols: ["h2"] }, /alert no_application_protocol \(120\)/],
    ["TLS 1.2", "listener", { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }, /unsupported protocol|version/],
    ["TLS 1.2", "dialer", { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }, /alert protocol_version \(70\)/],
    ["no cipher in common", "listener", { ciphers: "TLS_AES_128_CCM_SHA256" }, /no shared cipher/]
  ]
  for (const [title, role, options, words] of refused) {
    it.live(`as ${role}: ${title}`, () =>
      Effect.gen(function* () {
        const reason = yield* refusal(role, options, { muxers: [yamux] })
        if (reason._tag !== "BadHandshake") return assert.fail(reason._tag)
        assert.match(reason.detail, words)
      })
    )
  }

  it.live("a listener that refuses the dialer does so at the dialer's first read, and the alert is named", () =>
    Effect.gen(function* () {
      // It takes signatures of RSA only, so the dialer has no certificate for it.
      const options = { ...rsa, sigalgs: "RSA-PSS+SHA256", rejectUnauthorized: true }
      const { left, secured } = yield* meet("dialer", options)
      const connection = Result.getOrThrow(secured)
      assert.isTrue(PeerId.equals(connection.remotePeer, mallory.peerId))
      const { reason } = yield* Effect.flip(ByteStream.read(connection))
      if (reason._tag !== "ConnectionLost") return assert.fail(reason._tag)
      assert.strictEqual(reason.detail, "the remote refused with the TLS alert certificate_required (116)")
      assert.strictEqual(yield* streamFailure(connection.writable), "ConnectionLost")
      assert.strictEqual(connection.tryWrite(pattern(1)), 0)
      assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
    })
  )
})

/** Runs a listener on bytes that a hand-made remote sends. */
const listen = (bytes: Uint8Array, close: boolean) =>
  Effect.gen(function* () {
    const [left, right] = yield* Pipe.pair({ capacity: 200_000 })
    const us = yield* listener
    const fiber = yield* Effect.forkChild(
      Effect.result(us.protocol.secure(left, { role: "listener", expectedPeer: undefined, muxers: [] }))
    )
    yield* ByteStream.write(right, bytes)
    if (close) yield* right.closeWrite
    const secured = yield* Fiber.join(fiber)
    assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
    return Result.isFailure(secured) ? secured.failure.reason._tag : assert.fail("it was accepted")
  })
const listener = Effect.cached(node(1)).pipe(Effect.runSync)

const none = { expectedPeer: undefined, muxers: [] }

/** The first message of one of our dialers. */
const clientHello = Effect.gen(function* () {
  const [left, right] = yield* Pipe.pair()
  const us = yield* node(3)
  const fiber = yield* Effect.forkChild(
    us.protocol.secure(left, { role: "dialer", expectedPeer: undefined, muxers: [yamux] })
  )
  const bytes = yield* ByteStream.read(right)
  yield* Fiber.interrupt(fiber)
  return bytes ?? assert.fail("it ended")
})

describe("Tls: broken handshakes", () => {
  it.live("a first message cut off at any byte", () =>
    Effect.gen(function* () {
      const whole = yield* clientHello
      for (let n = 0; n < whole.length; n += 3) {
        assert.strictEqual(yield* listen(whole.subarray(0, n), true), "HandshakeInterrupted")
      }
    })
  )

  it.live("the first message twice", () =>
    Effect.gen(function* () {
      const whole = yield* clientHello
      assert.strictEqual(yield* listen(Bytes.concat([whole, whole]), false), "BadHandshake")
    })
  )

  it.live("a first message that is there already is answered before anything is flushed", () =>
    Effect.gen(function* () {
      const whole = yield* clientHello
      const [left, right] = yield* Pipe.pair()
      yield* ByteStream.write(left, whole)
      const done: Array<string> = []
      const tryWrite = (bytes: Uint8Array) => {
        done.push("write")
        return right.tryWrite(bytes)
      }
      const flush = () => void done.push("flush")
      const us = yield* listener
      const raw = { ...right, tryWrite, flush }
      const fiber = yield* Effect.forkChild(us.protocol.secure(raw, { role: "listener", ...none }))
      yield* left.readable
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(done[0], "write")
    })
  )

  it.live("the first message offers the muxers, and libp2p last", () =>
    Effect.gen(function* () {
      assert.include(Buffer.from(yield* clientHello).toString("latin1"), `\u000c${yamux}\u0006libp2p`)
    })
  )

  it.live("random bytes and damaged messages, many times over, are refused and never crash", () =>
    Effect.gen(function* () {
      const whole = yield* clientHello
      let state = 7
      const source = SecureRandom.make((size) =>
        Uint8Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 24)
      )
      for (let i = 0; i < 200; i++) {
        const bytes = yield* source.randomBytes(yield* source.intBetween(0, i % 10 === 0 ? 70_000 : 300))
        if (i % 2 === 0) {
          assert.isString(yield* listen(bytes, true))
          continue
        }
        const damaged = Uint8Array.from(whole)
        const at = yield* source.intBetween(0, whole.length - 1)
        damaged.set(bytes.subarray(0, whole.length - at), at)
        assert.isString(yield* listen(damaged, true))
      }
    })
  )

  for (const role of roles) {
    it.live(`as ${role}: interrupting a handshake resets the connection`, () =>
      Effect.gen(function* () {
        const [left] = yield* Pipe.pair({ capacity: 10 })
        const us = yield* node(1)
        const fiber = yield* Effect.forkChild(us.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }), {
          startImmediately: true
        })
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
        assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
      })
    )
  }
})
