/** A remote that speaks TLS by itself, so that it can do what no honest one would. */
import { assert } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import * as NodeCrypto from "node:crypto"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import type * as PeerId from "../../../../src/data/PeerId.ts"
import * as Crypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as FromSeed from "../../../../src/layers/identity/FromSeed.ts"
import * as Pipe from "../../../../src/layers/internal/Pipe.ts"
import * as Tls from "../../../../src/layers/security/Tls.ts"
import * as Certificate from "../../../../src/layers/security/tls/Certificate.ts"
import { pem } from "../../../../src/layers/security/tls/Credentials.ts"
import * as Proof from "../../../../src/layers/security/tls/Proof.ts"
import { ecdsaSha256 } from "../../../../src/layers/security/tls/SelfSignature.ts"
import * as ByteStream from "../../../../src/services/ByteStream.ts"
import type { Role } from "../../../../src/services/ConnectionSecurity.ts"
import { Identity } from "../../../../src/services/Identity.ts"

const seed = (n: number) => FromSeed.layer(new Uint8Array(32).fill(n))

/** One of our nodes. */
export const node = (n: number) =>
  Effect.gen(function* () {
    const protocol = yield* Tls.make
    const { peerId, publicKey } = yield* Identity
    return { protocol, peerId, publicKey }
  }).pipe(Effect.provide(Layer.provideMerge(seed(n), Crypto.layer)), Effect.orDie)

const options = { expectedPeer: undefined, muxers: [] }

/** Two of our nodes at the ends of a connection. */
export const secureBoth = (left: ByteStream.ByteStream, right: ByteStream.ByteStream) =>
  Effect.gen(function* () {
    const [us, them] = yield* Effect.all([node(1), node(2)])
    return yield* Effect.all(
      [
        us.protocol.secure(left, { role: "dialer", ...options }),
        them.protocol.secure(right, { role: "listener", ...options })
      ],
      { concurrency: 2 }
    )
  })

const identityOf = (n: number) =>
  Effect.runSync(Effect.orDie(FromSeed.make(new Uint8Array(32).fill(n)).pipe(Effect.provide(Crypto.layer))))

export const mallory = identityOf(66)
export const victim = identityOf(55)

const pair = NodeCrypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
export const spki = Uint8Array.from(pair.publicKey.export({ type: "spki", format: "der" }))
export const keyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString()

export const day = 24 * 60 * 60 * 1000
export const honestExtension = Proof.extension(mallory.publicKey, mallory.sign(Proof.signedBytes(spki)))

export interface Changes extends Partial<Certificate.Fields> {
  readonly sign?: (signed: Uint8Array) => Uint8Array
}

/** A certificate of Mallory's, honest but for the changes. */
export const certificate = ({ sign, ...changes }: Changes = {}): Uint8Array =>
  Certificate.make(
    {
      serial: Uint8Array.of(1, 2, 3),
      algorithm: ecdsaSha256,
      publicKey: spki,
      notBefore: Date.now() - day,
      notAfter: Date.now() + day,
      extensions: [honestExtension],
      ...changes
    },
    sign ?? ((signed) => NodeCrypto.sign("sha256", signed, pair.privateKey))
  )

export const certPem = (der: Uint8Array): string => pem("CERTIFICATE", der)

/** A pipe's end as a socket. It ends with the pipe. */
const plug = (raw: ByteStream.ByteStream): Duplex => {
  const socket = new Duplex({
    read: () => {},
    write: (bytes: Uint8Array, _, done) => {
      Effect.runFork(Effect.match(ByteStream.write(raw, bytes), { onFailure: done, onSuccess: () => done() }))
    },
    final: (done) => {
      Effect.runFork(Effect.match(raw.closeWrite, { onFailure: done, onSuccess: () => done() }))
    }
  })
  const pump: Effect.Effect<void> = Effect.suspend(() =>
    Effect.matchEffect(ByteStream.read(raw), {
      onFailure: (error) => Effect.sync(() => socket.destroy(error)),
      onSuccess: (bytes) => {
        socket.push(bytes)
        return bytes === null ? Effect.void : pump
      }
    })
  )
  socket.on("error", () => {})
  Effect.runFork(pump)
  return socket
}

export interface RemoteOptions extends tls.SecureContextOptions {
  readonly ALPNProtocols?: ReadonlyArray<string> | undefined
  readonly rejectUnauthorized?: boolean | undefined
}

/** The remote's end of a connection. */
export interface Remote {
  readonly socket: tls.TLSSocket
  readonly errors: Array<string>
  readonly secured: Promise<void>
}

const open = (raw: ByteStream.ByteStream, role: Role, options: RemoteOptions): Remote => {
  const { ALPNProtocols, rejectUnauthorized, ...context } = options
  const secureContext = tls.createSecureContext({
    minVersion: "TLSv1.3",
    cert: certPem(certificate()),
    key: keyPem,
    ...context
  })
  const common = {
    secureContext,
    rejectUnauthorized: rejectUnauthorized ?? false,
    ...(ALPNProtocols === undefined ? {} : { ALPNProtocols: [...ALPNProtocols] })
  }
  const socket =
    role === "dialer"
      ? tls.connect({ ...common, socket: plug(raw), checkServerIdentity: () => undefined })
      : new tls.TLSSocket(plug(raw), { ...common, isServer: true, requestCert: true })
  const errors: Array<string> = []
  socket.on("error", (error) => errors.push(error.message))
  socket.on("_tlsError", (error: Error) => errors.push(error.message))
  const secured = new Promise<void>((resolve) => {
    socket.on(role === "dialer" ? "secureConnect" : "secure", () => resolve())
  })
  return { socket, errors, secured }
}

/** Runs this side in `role` against the remote. */
export const meet = (
  role: Role,
  options: RemoteOptions = {},
  { expectedPeer, muxers = [] }: { expectedPeer?: PeerId.PeerId; muxers?: ReadonlyArray<string> } = {}
) =>
  Effect.gen(function* () {
    const us = yield* node(1)
    const [left, right] = yield* Pipe.pair()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        left.reset("the test is over")
        right.reset("the test is over")
      })
    )
    let writes = 0
    const watched: ByteStream.ByteStream = {
      ...left,
      tryWrite: (bytes) => {
        writes += 1
        return left.tryWrite(bytes)
      }
    }
    const fiber = yield* Effect.forkChild(Effect.result(us.protocol.secure(watched, { role, expectedPeer, muxers })))
    const remote = open(right, role === "dialer" ? "listener" : "dialer", options)
    const secured = yield* Fiber.join(fiber)
    return { secured, left, right, remote, us, writes }
  })

/** The reason for which this side refuses the remote. */
export const refusal = (...args: Parameters<typeof meet>) =>
  Effect.gen(function* () {
    const { left, secured } = yield* meet(...args)
    const error = yield* Effect.flip(left.readable)
    assert.strictEqual(error.reason._tag, "ResetLocally")
    return Result.isFailure(secured) ? secured.failure.reason : assert.fail("it was accepted")
  })
