/**
 * A connection of a private network: a raw connection beneath it, on which each
 * direction is a nonce and then what is written, under XSalsa20.
 *
 * The nonce leaves with the first bytes or, from an end that has none yet, when
 * it first reads: some remotes say nothing before they have it. It costs no
 * round trip. What is not encrypted is neither sent nor given to a reader.
 *
 * Writing: a piece is encrypted into a buffer and handed to the raw connection.
 * What that does not take is not taken here either, and encrypted again when it
 * is written again: nothing waits here. Reading: a batch is decrypted into a
 * buffer that is lent until the next read.
 *
 * Nothing authenticates here, as the specification has it; the security above
 * does. A remote without the key shows by what it says being noise; one that
 * sends back what it is sent would have us talk to ourselves, and shows by the
 * nonce being our own.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { NetworkKey } from "../../data/NetworkKey.ts"
import { untraced } from "../../data/Untraced.ts"
import { OutsideNetwork, StreamError } from "../../services/ByteStream.ts"
import type { RawConnection } from "../../services/Transport.ts"
import { Buffers } from "../internal/Buffers.ts"
import { Keystream, nonceSize, slack } from "./core/Keystream.ts"

/** The most that is encrypted at once: what a raw connection that is nearly full makes us do again. */
const pieceSize = 32 * 1024
const pieces = new Buffers(pieceSize + slack, 4)

/** What a socket gives at once, decrypted. */
const batches = new Buffers(128 * 1024 + slack, 4)
/** Up to here plaintext has memory of its own, so that a connection on which little comes holds little. */
const smallBatch = 4096

/** What a node begins with that is in no private network. */
const inTheClear = Bytes.fromUtf8("\u0013/multistream/1.0.0\n")

const nothing = new Uint8Array(0)

export class PrivateStream implements RawConnection {
  readonly ownedReads = false
  readonly copiesWrites = true
  readonly remoteAddress: Multiaddr
  readonly sharesPort: boolean | undefined
  private readonly raw: RawConnection
  private readonly key: NetworkKey
  private error: StreamError | undefined

  /** What the raw connection has not taken of our nonce. */
  private unsent: Uint8Array
  private readonly nonce: Uint8Array
  private outgoing: Keystream | undefined
  private written = 0

  /** The remote's nonce, as far as it has come; none once there is a keystream of it. */
  private greeting: Uint8Array = nothing
  private incoming: Keystream | undefined
  private taken = 0
  /** Plaintext that came while somebody waited, and was not read yet. */
  private opened: Uint8Array | undefined
  /** The buffer that plaintext is or was lent in. */
  private lent: Uint8Array | undefined

  /** The nonce is 24 random bytes, for this connection alone. */
  constructor(raw: RawConnection, key: NetworkKey, nonce: Uint8Array) {
    this.raw = raw
    this.key = key
    this.nonce = nonce
    this.unsent = nonce
    this.remoteAddress = raw.remoteAddress
    this.sharesPort = raw.sharesPort
  }

  get localAddress(): Multiaddr {
    return this.raw.localAddress
  }

  // Reading

  tryRead(): Uint8Array | null | undefined {
    const { opened } = this
    if (opened !== undefined) {
      this.opened = undefined
      return opened
    }
    this.takeBack()
    return this.pull()
  }

  get readable(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => this.untilReadable())
  }

  private untilReadable(): Effect.Effect<void, StreamError> {
    if (this.opened !== undefined) return Effect.void
    if (this.error !== undefined) return Effect.fail(this.error)
    this.begin()
    if (this.incoming !== undefined) return this.raw.readable
    // What comes first may be the nonce alone.
    return Effect.flatMap(this.raw.readable, () => {
      const bytes = this.pull()
      if (bytes === null) return Effect.void
      this.opened = bytes
      return this.untilReadable()
    })
  }

  whenReadable(wake: () => void): boolean {
    if (this.opened !== undefined || this.error !== undefined) return false
    this.begin()
    return this.raw.whenReadable?.(wake) ?? false
  }

  /** The next plaintext, as `tryRead` gives it. */
  private pull(): Uint8Array | null | undefined {
    if (this.error !== undefined) return undefined
    this.begin()
    for (;;) {
      const batch = this.raw.tryRead()
      if (batch === undefined) return undefined
      if (batch === null) {
        if (this.incoming !== undefined || this.greeting.length === 0) return null
        return this.outside(
          `it ended after ${this.greeting.length} of the ${nonceSize} bytes that each end begins with`
        )
      }
      const rest = this.incoming === undefined ? this.greet(batch) : batch
      if (rest === undefined) return undefined
      if (this.incoming !== undefined && rest.length > 0) return this.open(this.incoming, rest)
    }
  }

  /** Takes the remote's nonce off the front of what it says. Gives what follows it; undefined if this is no such network. */
  private greet(batch: Uint8Array): Uint8Array | undefined {
    const missing = nonceSize - this.greeting.length
    const greeting = Bytes.concat([this.greeting, batch.subarray(0, missing)])
    if (greeting.length >= inTheClear.length && Bytes.equals(greeting.subarray(0, inTheClear.length), inTheClear)) {
      return this.outside("it speaks in the clear, as a node that is in no private network does")
    }
    this.greeting = greeting
    if (greeting.length === nonceSize) {
      if (Bytes.equals(greeting, this.nonce)) return this.outside("it sends back what it is sent")
      this.incoming = new Keystream(this.key.bytes, greeting)
      this.greeting = nothing
    }
    return batch.subarray(missing)
  }

  private open(keystream: Keystream, batch: Uint8Array): Uint8Array {
    const room = batch.length + slack
    const target = room > smallBatch && room <= batches.size ? batches.take() : new Uint8Array(room)
    const bytes = keystream.apply(batch, this.taken, target)
    this.taken += batch.length
    this.lent = target
    return bytes
  }

  /** What was lent is lent no longer. */
  private takeBack(): void {
    if (this.lent === undefined) return
    batches.give(this.lent)
    this.lent = undefined
  }

  // Writing

  tryWrite(bytes: Uint8Array): number {
    if (this.error !== undefined || bytes.length === 0 || !this.begin()) return 0
    const keystream = (this.outgoing ??= new Keystream(this.key.bytes, this.nonce))
    let taken = 0
    while (taken < bytes.length) {
      const piece = bytes.subarray(taken, taken + pieceSize)
      const n = this.put(keystream, piece)
      taken += n
      if (n < piece.length) break
    }
    return taken
  }

  private put(keystream: Keystream, piece: Uint8Array): number {
    const copied = this.raw.copiesWrites === true
    const target = copied ? pieces.take() : new Uint8Array(piece.length + slack)
    const n = this.raw.tryWrite(keystream.apply(piece, this.written, target))
    this.written += n
    if (copied) pieces.give(target)
    return n
  }

  /** Sends the nonce before anything else; false while it is not all taken. */
  private begin(): boolean {
    if (this.unsent.length === 0) return true
    this.unsent = this.unsent.subarray(this.raw.tryWrite(this.unsent))
    return this.unsent.length === 0
  }

  /** Goes on once the nonce is taken. */
  private begun(then: () => Effect.Effect<void, StreamError>): Effect.Effect<void, StreamError> {
    return this.begin() ? then() : Effect.flatMap(this.raw.writable, () => this.begun(then))
  }

  get writable(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return Effect.fail(this.error)
      return this.begun(() => this.raw.writable)
    })
  }

  flush(): void {
    this.raw.flush()
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return Effect.fail(this.error)
      return this.begun(() => this.raw.closeWrite)
    })
  }

  // Ending

  reset(because: string): void {
    // Not taken back: its reader may still be at it.
    this.opened = undefined
    this.lent = undefined
    this.raw.reset(because)
  }

  /** The remote is not in this network: nothing that it says is given to anybody. */
  private outside(detail: string): undefined {
    const reason = new OutsideNetwork({ network: this.key.fingerprint, detail })
    this.error ??= untraced(() => new StreamError({ reason }))
    this.raw.reset("the remote is not in this private network")
    return undefined
  }
}
