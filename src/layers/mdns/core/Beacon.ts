/**
 * Encrypted beacons: what a peer sends on the local network, for those who have
 * a key and nobody else. A message of multicast DNS, whatever it says (who is
 * there, here I am, I go), becomes a record that says nothing: the same kind
 * and size each time, under names that change with the hour. Pure.
 *
 * ```
 * name     <of the sender, this hour>.<of the network, this hour>._udp.local
 * texts    nonce | XChaCha20-Poly1305 ( session | time | length | message | zeros )
 * ```
 *
 * The name of the network is an HMAC of the hour by the key: who has the key
 * listens to the hours before, now and after, since clocks differ, by ten minutes
 * at most. The name of the sender is an HMAC of the hour by a seed of its own. What
 * is sealed is bound to both.
 *
 * What it does not hide is in docs/local-network.md.
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js"
import { hkdf } from "@noble/hashes/hkdf.js"
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import * as Multibase from "../../../data/Multibase.ts"
import { BeaconWindow, type Limits, maxApartMs, slackMs, type Verdict } from "./BeaconWindow.ts"

/** How long names last. */
export const epochMs = 3_600_000

/** What is sealed has a multiple of this size: one, unless much is known of others. A packet of it fits into a frame of Ethernet. */
export const blockSize = 1320
const maxBlocks = 6
const sessionSize = 16
/** Session, time and length, before the message. */
const headSize = sessionSize + 8 + 2
const nonceSize = 24
const tagSize = 16

/** The longest message that fits. */
export const maxMessage = maxBlocks * blockSize - headSize
const maxText = 255

/** A record as it is sent. */
export interface Envelope {
  /** Such as `x…._y…._udp.local`. */
  readonly name: string
  readonly texts: ReadonlyArray<Uint8Array>
}

/** Why an envelope is not opened. Plain values: anybody on the network can make thousands of them a second. */
export type Refusal =
  /** Its name is none of this network, now. */
  | "Foreign"
  /** It has not the form of a beacon. */
  | "Malformed"
  /** It was not sealed with the key, or not under this name. */
  | "Unauthentic"
  /** It is of another hour, or clocks differ by too much. */
  | "WrongTime"
  | Exclude<Verdict, "Fresh">

/** The time as its parts need it. */
export interface Moment {
  /** Milliseconds of the wall clock, by which names change. */
  readonly wallMs: number
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: number
}

export interface Options {
  /** What the peers share: the key of a private network, or another secret that cannot be guessed; a password is none. */
  readonly key: Uint8Array
  /** 32 random bytes, new at each start. */
  readonly seed: Uint8Array
  readonly limits?: Limits | undefined
}

/** Keys for this and nothing else: what they do tells nothing of the key that they come from. */
const derive = (key: Uint8Array, use: string): Uint8Array =>
  hkdf(sha256, key, Bytes.fromUtf8("effect-libp2p beacon 1"), Bytes.fromUtf8(use), 32)

const numbered = (use: string, number: number): Uint8Array => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number))
  return Bytes.concat([Bytes.fromUtf8(`${use} `), bytes])
}

/** So many characters of base32, which DNS does not change. */
const label = (bytes: Uint8Array, length: number): string => Multibase.toBase32(bytes).slice(1, 1 + length)

const epochOf = (wallMs: number): number => Math.max(0, Math.floor(wallMs / epochMs))

/** Both names, with all that they promise. */
const boundTo = (name: string): Uint8Array => Bytes.fromUtf8(`effect-libp2p beacon 1 ${name}`)

/** One peer's way of sealing and opening. */
export class Beacon {
  readonly #nameKey: Uint8Array
  readonly #sealKey: Uint8Array
  readonly #seed: Uint8Array
  private readonly window: BeaconWindow
  private session: Uint8Array
  private sealed = 0
  private lastAt = 0
  private own: { readonly epoch: number; readonly name: string } | undefined
  private services: { readonly epoch: number; readonly names: ReadonlyMap<string, number> } | undefined

  constructor({ key, limits, seed }: Options) {
    this.#nameKey = derive(key, "names")
    this.#sealKey = derive(key, "seal")
    this.#seed = seed
    this.session = this.newSession(0)
    this.window = new BeaconWindow(limits)
  }

  /** The name of the network in this hour, such as `_y…._udp.local`. */
  service(wallMs: number): string {
    return this.serviceAt(epochOf(wallMs))
  }

  /** Whether a name is one of this network, now or in the hour before or after. */
  isOurs(name: string, wallMs: number): boolean {
    return this.epochIn(name, wallMs) !== undefined
  }

  /** A message as it is sent; undefined if it is longer than {@link maxMessage}. */
  seal(message: Uint8Array, { wallMs }: Moment): Envelope | undefined {
    if (message.length > maxMessage) return undefined
    const at = this.nextAt(wallMs)
    const epoch = epochOf(at)
    const size = Math.ceil((headSize + message.length) / blockSize) * blockSize
    const plain = new Uint8Array(size)
    const view = new DataView(plain.buffer)
    plain.set(this.session)
    view.setBigUint64(sessionSize, BigInt(at))
    view.setUint16(sessionSize + 8, message.length)
    plain.set(message, headSize)
    const nonce = hmac(sha256, this.#seed, numbered("nonce", this.sealed++)).subarray(0, nonceSize)
    const name = this.nameAt(epoch)
    const bytes = Bytes.concat([nonce, xchacha20poly1305(this.#sealKey, nonce, boundTo(name)).encrypt(plain)])
    const texts: Array<Uint8Array> = []
    for (let i = 0; i < bytes.length; i += maxText) texts.push(bytes.subarray(i, i + maxText))
    return { name, texts }
  }

  /** The message of an envelope that came from the host `source`. */
  open({ name, texts }: Envelope, source: string, now: Moment): Result.Result<Uint8Array, Refusal> {
    const epoch = this.epochIn(name, now.wallMs)
    if (epoch === undefined) return Result.fail("Foreign")
    const bytes = Bytes.concat(texts)
    const size = bytes.length - nonceSize - tagSize
    if (size <= 0 || size % blockSize !== 0 || size > maxBlocks * blockSize) return Result.fail("Malformed")
    const plain = this.decrypt(bytes, name)
    if (plain === undefined) return Result.fail("Unauthentic")
    const view = new DataView(plain.buffer, plain.byteOffset, plain.length)
    const at = Number(view.getBigUint64(sessionSize))
    const length = view.getUint16(sessionSize + 8)
    if (headSize + length > plain.length) return Result.fail("Malformed")
    if (epochOf(at) !== epoch || Math.abs(at - now.wallMs) > maxApartMs) return Result.fail("WrongTime")
    const session = plain.subarray(0, sessionSize)
    const verdict = this.window.accept({ sender: Bytes.toHex(session), source, at }, now.monotonicMs)
    return verdict === "Fresh" ? Result.succeed(plain.subarray(headSize, headSize + length)) : Result.fail(verdict)
  }

  /** Times count up. After a clock was set back they could not: then it is another sender that speaks. */
  private nextAt(wallMs: number): number {
    const now = Math.floor(wallMs)
    if (now + slackMs < this.lastAt) {
      this.session = this.newSession(this.lastAt)
      this.lastAt = 0
    }
    this.lastAt = Math.max(now, this.lastAt + 1)
    return this.lastAt
  }

  private newSession(number: number): Uint8Array {
    return hmac(sha256, this.#seed, numbered("session", number)).subarray(0, sessionSize)
  }

  /** Its own name in an hour. */
  private nameAt(epoch: number): string {
    if (this.own?.epoch !== epoch) {
      const instance = label(hmac(sha256, this.#seed, numbered("instance", epoch)), 32)
      this.own = { epoch, name: `${instance}.${this.serviceAt(epoch)}` }
    }
    return this.own.name
  }

  private serviceAt(epoch: number): string {
    return `_${label(hmac(sha256, this.#nameKey, numbered("service", epoch)), 13)}._udp.local`
  }

  /** The hour that the network's part of a name is of. */
  private epochIn(name: string, wallMs: number): number | undefined {
    const now = epochOf(wallMs)
    if (this.services?.epoch !== now) {
      const names = [now - 1, now, now + 1].filter((epoch) => epoch >= 0)
      this.services = { epoch: now, names: new Map(names.map((epoch) => [this.serviceAt(epoch), epoch])) }
    }
    return this.services.names.get(name.slice(name.indexOf(".") + 1))
  }

  private decrypt(bytes: Uint8Array, name: string): Uint8Array | undefined {
    const cipher = xchacha20poly1305(this.#sealKey, bytes.subarray(0, nonceSize), boundTo(name))
    try {
      return cipher.decrypt(bytes.subarray(nonceSize))
    } catch {
      return undefined
    }
  }
}
