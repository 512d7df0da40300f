/** `effect-libp2p key`: makes, shows, imports and exports the keys that peers are named after; makes those of networks. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Path from "node:path"
import process from "node:process"
import * as Keys from "../../data/Keys.ts"
import * as PeerId from "../../data/PeerId.ts"
import * as NodeCrypto from "../../layers/crypto/NodeCrypto.ts"
import * as KeyFile from "../../layers/identity/KeyFile.ts"
import * as NetworkKeyFile from "../../layers/pnet/NetworkKeyFile.ts"
import { Crypto } from "../../services/Crypto.ts"
import { UsageError } from "./Failure.ts"
import { Output, table } from "./Output.ts"
import * as Pem from "./Pem.ts"
import * as Places from "./Places.ts"
import type { Settings } from "./Settings.ts"

const platform = Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto, NodeFileSystem.layer, NodePath.layer)

const types = { ed25519: "Ed25519", secp256k1: "secp256k1", ecdsa: "ECDSA", rsa: "RSA" } as const
export type TypeName = keyof typeof types
export const typeNames = ["ed25519", "secp256k1", "ecdsa", "rsa"] as const
export const formats = ["protobuf", "base64", "pem"] as const
export type Format = (typeof formats)[number]

/** The most that a file to import may hold: a key of 8192 bits as PEM takes 6.5 KiB. */
const maxImport = 64 * 1024

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64")

/** What may be seen of a key. */
const tell = Effect.fnUntraced(function* (event: string, path: string, key: Keys.PrivateKey) {
  const crypto = yield* Crypto
  const output = yield* Output
  const { publicKey } = yield* Effect.mapError(
    Effect.fromResult(crypto.signer(key)),
    (error) => new UsageError({ detail: `${path}: the key cannot be used: ${error.detail}` })
  )
  const peer = PeerId.fromPublicKey(publicKey)
  const encoded = base64(Keys.encodePublicKey(publicKey))
  yield* output.event(
    { event, file: path, type: key.type, peer: peer.toString(), cid: peer.toCid(), publicKey: encoded },
    table([
      ["file", [path]],
      ["type", [key.type]],
      ["peer id", [peer.toString(), peer.toCid()]],
      ["public key", [encoded]]
    ])
  )
})

/** A folder is no name for a key: it would be said to exist, or could not be renamed over. */
const refuseFolder = Effect.fnUntraced(function* (path: string, example: string) {
  const fs = yield* FileSystem.FileSystem
  const isFolder = yield* Effect.match(fs.stat(path), {
    onFailure: () => false,
    onSuccess: ({ type }) => type === "Directory"
  })
  if (!isFolder) return
  return yield* new UsageError({
    detail: `${path} is a folder: name the file that is to hold the key, such as --out ${Path.join(path, example)}`
  })
})

const write = Effect.fnUntraced(function* (path: string, bytes: Uint8Array, force: boolean) {
  yield* refuseFolder(path, "identity.key")
  if (yield* KeyFile.writeSecret(path, bytes, { overwrite: force })) return
  return yield* new UsageError({
    detail: `${path} exists and is left as it is. Name another file with --out, or overwrite it for good with --force.`
  })
})

/** Refuses early what would be refused at the end, before a minute is spent on a key. */
const refuseExisting = Effect.fnUntraced(function* (path: string, force: boolean) {
  const fs = yield* FileSystem.FileSystem
  yield* refuseFolder(path, "identity.key")
  if (!force && (yield* Effect.orElseSucceed(fs.exists(path), () => false)))
    yield* write(path, new Uint8Array(0), false)
})

const frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

/** Shows on stderr that something is going on: a line that moves on a terminal, one line elsewhere. */
const withProgress = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const terminal = process.stderr.isTTY
  const put = (text: string) => Effect.sync(() => void process.stderr.write(text))
  if (!terminal) return Effect.andThen(put(`${what}…\n`), effect)
  const spin = Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    for (let i = 0; ; i = (i + 1) % frames.length) {
      const seconds = Math.floor(((yield* Clock.currentTimeMillis) - start) / 1000)
      yield* put(`\r${frames.charAt(i)} ${what}, ${seconds} s`)
      yield* Effect.sleep("100 millis")
    }
  })
  return Effect.ensuring(Effect.raceFirst(effect, spin), put("\r\u001b[K"))
}

export interface GenerateOptions {
  readonly type: TypeName
  readonly bits: number | undefined
  readonly out: string
  readonly force: boolean
}

export const generate = (options: GenerateOptions) =>
  Effect.gen(function* () {
    const crypto = yield* Crypto
    if (options.bits !== undefined && options.type !== "rsa") {
      return yield* new UsageError({ detail: `--bits is for RSA keys; an ${options.type} key has one size` })
    }
    yield* refuseExisting(options.out, options.force)
    const made = crypto.generateKey(types[options.type], { rsaBits: options.bits })
    const key = yield* Effect.mapError(
      options.type === "rsa" ? withProgress(`making an RSA key of ${options.bits ?? 2048} bits`, made) : made,
      (error) => new UsageError({ detail: error.detail })
    )
    yield* write(options.out, Keys.encodePrivateKey(key), options.force)
    yield* tell("generated", options.out, key)
  }).pipe(Effect.provide(platform))

const read = Effect.fnUntraced(function* (path: string) {
  const key = yield* KeyFile.read({ path, checkMode: Places.checkMode })
  if (key !== undefined) return key
  return yield* new UsageError({
    detail: `there is no key file ${path}. Make one with: ${Places.invocation()} key generate`
  })
})

export const show = (path: string) =>
  Effect.flatMap(read(path), (key) => tell("key", path, key)).pipe(Effect.provide(platform))

/** A key in any of the forms that it travels in. */
const parse = (bytes: Uint8Array): Result.Result<Keys.PrivateKey, string> => {
  const text = Buffer.from(bytes).toString("latin1").trim()
  if (text.startsWith("-----BEGIN")) return Pem.decode(text)
  const isBase64 = text.length > 0 && /^[A-Za-z0-9+/\s]+=*$/.test(text)
  return Result.mapError(
    Keys.decodePrivateKey(isBase64 ? Uint8Array.from(Buffer.from(text, "base64")) : bytes),
    (error) => error.detail
  )
}

/** All of stdin, up to the limit. */
const stdin = Effect.tryPromise({
  try: async () => {
    const parts: Array<Buffer> = []
    let size = 0
    for await (const part of process.stdin) {
      const bytes = Buffer.from(part)
      size += bytes.length
      parts.push(bytes)
      if (size > maxImport) break
    }
    return Buffer.concat(parts)
  },
  catch: () => new UsageError({ detail: "stdin cannot be read" })
})

export const importKey = (options: { readonly from: string; readonly out: string; readonly force: boolean }) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const from = options.from === "-" ? "stdin" : options.from
    const bytes =
      options.from === "-"
        ? yield* stdin
        : yield* Effect.mapError(
            fs.readFile(options.from),
            (error) =>
              new UsageError({
                detail:
                  error.reason._tag === "NotFound"
                    ? `there is no file ${from}`
                    : `${from} cannot be read: ${error.message}`
              })
          )
    if (bytes.length > maxImport) return yield* new UsageError({ detail: `${from} is too long to be a key` })
    const key = parse(bytes)
    if (Result.isFailure(key)) {
      return yield* new UsageError({
        detail:
          `${from} holds no private key that can be read: ${key.failure}. ` +
          "It should be the libp2p protobuf of a key, that in base64, or PEM without a passphrase."
      })
    }
    // Made ready before it is written: a key that does not work would only fail later.
    const crypto = yield* Crypto
    yield* Effect.mapError(
      Effect.fromResult(crypto.signer(key.success)),
      (error) => new UsageError({ detail: `the key in ${from} cannot be used: ${error.detail}` })
    )
    yield* write(options.out, Keys.encodePrivateKey(key.success), options.force)
    yield* tell("imported", options.out, key.success)
  }).pipe(Effect.provide(platform))

/** Makes the key of a private network. There is no way to overwrite one: its nodes would lose each other. */
export const makePsk = (settings: Settings, out: string | undefined) =>
  Effect.gen(function* () {
    const output = yield* Output
    const path = out ?? Path.join(Path.dirname(settings.identity), "swarm.key")
    yield* refuseFolder(path, "swarm.key")
    const key = yield* NetworkKeyFile.generate
    if (!(yield* NetworkKeyFile.write(path, key))) {
      return yield* new UsageError({ detail: `${path} exists and is left as it is. Name another file with --out.` })
    }
    yield* output.event(
      { event: "generated", file: path, network: key.fingerprint },
      table([
        ["file", [path]],
        ["network", [key.fingerprint]],
        ["use", [`${Places.invocation()} node --psk ${path}`]]
      ])
    )
  }).pipe(Effect.provide(platform))

export interface ExportOptions {
  readonly from: string
  readonly format: Format
  readonly out: string | undefined
  readonly force: boolean
}

const encode = (key: Keys.PrivateKey, format: Format): Result.Result<Uint8Array, string> => {
  switch (format) {
    case "protobuf":
      return Result.succeed(Keys.encodePrivateKey(key))
    case "base64":
      return Result.succeed(Buffer.from(`${base64(Keys.encodePrivateKey(key))}\n`))
    case "pem":
      return Result.map(Pem.encode(key), (text) => Buffer.from(text))
  }
}

export const exportKey = (options: ExportOptions) =>
  Effect.gen(function* () {
    const key = yield* read(options.from)
    const encoded = encode(key, options.format)
    if (Result.isFailure(encoded)) {
      return yield* new UsageError({
        detail: `${options.from} cannot be written as ${options.format}: ${encoded.failure}`
      })
    }
    if (options.out !== undefined) {
      yield* write(options.out, encoded.success, options.force)
      return yield* tell("exported", options.out, key)
    }
    if (options.format === "protobuf" && process.stdout.isTTY) {
      return yield* new UsageError({
        detail: "the protobuf is not text: give a file with --out, or choose --format base64"
      })
    }
    yield* Effect.sync(() => void process.stdout.write(encoded.success))
  }).pipe(Effect.provide(platform))
