/**
 * The limits: what Node's own sockets, OpenSSL's TLS and the bare cryptography
 * of a handshake reach on this machine, by the same contract as the peers. A
 * connection has one stream; its first byte says what the listener does.
 */
import * as net from "node:net"
import process from "node:process"
import { createInterface } from "node:readline"
import * as tls from "node:tls"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as NodeCrypto from "../../layers/crypto/NodeCrypto.ts"
import * as Generated from "../../layers/identity/Generated.ts"
import * as Credentials from "../../layers/security/tls/Credentials.ts"
import { Crypto } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import { Command } from "./peer/Work.ts"

const { positionals, values } = parseArgs({ allowPositionals: true, options: { limit: { type: "string" } } })
const limit = values.limit ?? "tcp"
const echo = 0x45
const sink = 0x53
const source = 0x44

/** A command did not come out as it must. */
class LimitFailure extends Schema.TaggedError<LimitFailure>()("LimitFailure", { detail: Schema.String }) {}

const since = (started: number) => (performance.now() - started) / 1000

/** Writes for as long as `more` says so, waiting for `drain` when the socket has enough. */
const fill = (socket: net.Socket, chunk: Uint8Array, more: () => boolean): Promise<number> =>
  new Promise((resolve) => {
    let sent = 0
    const go = () => {
      while (more()) {
        sent += chunk.length
        if (!socket.write(chunk)) return void socket.once("drain", go)
      }
      resolve(sent)
    }
    go()
  })

const serve = (socket: net.Socket) => {
  socket.on("error", () => socket.destroy())
  socket.setNoDelay(true)
  socket.once("data", (first: Buffer) => {
    if (first[0] === echo) {
      socket.on("data", (data) => void socket.write(data))
      if (first.length > 1) socket.write(first.subarray(1))
    } else if (first[0] === sink) {
      let received = first.length - 1
      socket.on("data", (data: Buffer) => void (received += data.length))
      socket.on("end", () => {
        const answer = Buffer.alloc(8)
        answer.writeBigUInt64BE(BigInt(received))
        socket.end(answer)
      })
    } else {
      void fill(socket, new Uint8Array(64 * 1024), () => !socket.destroyed)
    }
  })
}

type Credential = tls.SecureContext

const listen = (credential: Credential): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const secure = { isServer: true, secureContext: credential, requestCert: true, rejectUnauthorized: false }
    const server = net.createServer({ allowHalfOpen: true }, (socket) =>
      serve(limit === "tcp" ? socket : new tls.TLSSocket(socket, secure))
    )
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed(String(typeof address === "object" ? address?.port : "")))
    })
  })

/** Connects and says what it wants; ends with the scope. */
const connect = (address: string, credential: Credential, what: number) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket, LimitFailure>((resume) => {
      const at = { host: "127.0.0.1", port: Number(address), allowHalfOpen: true }
      const socket =
        limit === "tcp"
          ? net.connect(at)
          : tls.connect({
              ...at,
              rejectUnauthorized: false,
              ...(limit === "tls-chacha20"
                ? { ciphers: "TLS_CHACHA20_POLY1305_SHA256", minVersion: "TLSv1.3" }
                : { secureContext: credential })
            })
      socket.on("error", (error) => resume(Effect.fail(new LimitFailure({ detail: error.message }))))
      socket.once(limit === "tcp" ? "connect" : "secureConnect", () => {
        socket.setNoDelay(true)
        socket.write(new Uint8Array([what]))
        resume(Effect.succeed(socket))
      })
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** So many bytes there and back. */
const exchange = (socket: net.Socket, message: Uint8Array) =>
  Effect.callback<void, LimitFailure>((resume) => {
    let left = message.length
    const data = (chunk: Buffer) => {
      left -= chunk.length
      if (left > 0) return
      socket.off("data", data)
      socket.off("close", close)
      resume(Effect.void)
    }
    const close = () => resume(Effect.fail(new LimitFailure({ detail: "the connection closed" })))
    socket.on("data", data)
    socket.once("close", close)
    socket.write(message)
  })

const upload = Effect.fnUntraced(function* (credential: Credential, { address, seconds, size }: typeof Command.Type) {
  const socket = yield* connect(address, credential, sink)
  const started = performance.now()
  const until = started + seconds * 1000
  const answer = new Promise<Buffer>((resolve) => socket.once("data", resolve))
  const sent = yield* Effect.promise(() => fill(socket, new Uint8Array(size), () => performance.now() < until))
  socket.end()
  const received = Number((yield* Effect.promise(() => answer)).readBigUInt64BE())
  if (received !== sent) return yield* new LimitFailure({ detail: `sent ${sent} bytes, the listener has ${received}` })
  return { count: sent, seconds: since(started) }
})

const download = Effect.fnUntraced(function* (credential: Credential, { address, seconds }: typeof Command.Type) {
  const socket = yield* connect(address, credential, source)
  const started = performance.now()
  return yield* Effect.callback<unknown>((resume) => {
    let count = 0
    const data = (chunk: Buffer) => {
      count += chunk.length
      if (since(started) < seconds) return
      socket.off("data", data)
      resume(Effect.succeed({ count, seconds: since(started) }))
    }
    socket.on("data", data)
  })
})

const repeat = <E, R>(seconds: number, once: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const started = performance.now()
    let count = 0
    for (; since(started) < seconds; count++) yield* once
    return { count, seconds: since(started) }
  })

/**
 * What both sides of a Noise XX handshake must compute at the least: two
 * ephemeral keys, three agreements a side, a signature checked a side. Hashes and
 * ciphers, which cost little beside, are left out.
 */
const handshake = (crypto: Crypto["Service"], identity: Identity["Service"]) => {
  const message = new Uint8Array(56).fill(1)
  const signature = identity.sign(message)
  const remote = crypto.dhKeyPair(new Uint8Array(32).fill(7)).publicKey
  let seed = 0
  return Effect.sync(() => {
    for (let side = 0; side < 2; side++) {
      const entropy = new Uint8Array(32)
      new DataView(entropy.buffer).setUint32(0, ++seed)
      const ephemeral = crypto.dhKeyPair(entropy)
      for (let agreement = 0; agreement < 3; agreement++) Result.getOrThrow(ephemeral.agree(remote))
      Result.getOrThrow(crypto.verify(identity.publicKey, message, signature))
    }
  })
}

process.stdin.once("end", () => process.exit(0))
const print = (line: unknown) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(line)}\n`))

const Services = Generated.layer.pipe(Layer.provideMerge(Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto)))

const program = Effect.gen(function* () {
  const services = yield* Layer.build(Services)
  const crypto = Context.get(services, Crypto)
  const identity = Context.get(services, Identity)
  const credential = Credentials.make(identity, crypto, Date.now())
  const bare = handshake(crypto, identity)
  const work = (command: typeof Command.Type) => {
    switch (command.run) {
      case "upload":
        return upload(credential, command)
      case "download":
        return download(credential, command)
      case "ping":
        return Effect.flatMap(connect(command.address, credential, echo), (socket) =>
          repeat(command.seconds, exchange(socket, new Uint8Array(command.size)))
        )
      case "connections":
        return limit === "crypto"
          ? repeat(command.seconds, bare)
          : repeat(
              command.seconds,
              Effect.scoped(
                Effect.flatMap(connect(command.address, credential, echo), (socket) =>
                  exchange(socket, new Uint8Array(1))
                )
              )
            )
      default:
        return Effect.fail(new LimitFailure({ detail: `no such command: ${command.run}` }))
    }
  }
  yield* print({ event: "ready", ...(positionals[0] === "listen" ? { address: yield* listen(credential) } : {}) })
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.flatMap(Schema.decodeEffect(Command)(line), (command) =>
      Effect.scoped(work(command)).pipe(
        Effect.match({
          onSuccess: (ok) => ({ id: command.id, ok }),
          onFailure: (error) => ({ id: command.id, error: error.detail })
        }),
        Effect.flatMap(print)
      )
    )
  )
})

NodeRuntime.runMain(Effect.scoped(program))
