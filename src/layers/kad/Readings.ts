/**
 * What was read from messages lately, by its bytes. All whom a node asks name the
 * same few peers again and again, and reading them anew was most of what an
 * answer cost; besides, what is kept of them is one object, not one for each who
 * told of it. The same bytes are the same peer or address, whoever says them.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"

/** Of each kind, in a generation: there are two, and what is used goes into the younger. */
const most = 1024
/** Longer ones are read each time: few have them, and whoever makes them up shall not fill memory with them. */
const longest = 64

class Kept<A extends object> {
  readonly #read: (bytes: Uint8Array) => A | undefined
  #young = new Map<string, A>()
  #old = new Map<string, A>()

  constructor(read: (bytes: Uint8Array) => A | undefined) {
    this.#read = read
  }

  of(bytes: Uint8Array): A | undefined {
    if (bytes.length > longest) return this.#read(bytes)
    const key = Bytes.toKey(bytes)
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const one = this.#old.get(key) ?? this.#read(bytes)
    if (one === undefined) return undefined
    if (this.#young.size >= most) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, one)
    return one
  }
}

/** Reads peer ids and addresses; `undefined` for bytes that are none. */
export class Readings {
  readonly #peers = new Kept(PeerId.parse)
  readonly #addresses = new Kept((bytes) => Result.getOrUndefined(Multiaddr.fromBytes(bytes)))

  peer(bytes: Uint8Array): PeerId.PeerId | undefined {
    return this.#peers.of(bytes)
  }

  address(bytes: Uint8Array): Multiaddr.Multiaddr | undefined {
    return this.#addresses.of(bytes)
  }
}
