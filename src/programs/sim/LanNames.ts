/** The names that peers of the local network announce themselves under: loaded dice that draw one twice, and who is called what. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import type { PeerId } from "../../data/PeerId.ts"
import * as Packet from "../../layers/mdns/core/Packet.ts"
import { Prng } from "../../layers/simulation/Prng.ts"

/** A peer draws its name, of so many letters, before anything else. */
const letters = 32

/** The chance of nodes, of which some first draw what others draw. */
export class Dice {
  private readonly loaded = new Map<number, string>()

  /** From its next start on a node first draws as all do that are loaded alike. */
  load(index: number, alike: string | undefined): void {
    if (alike === undefined) this.loaded.delete(index)
    else this.loaded.set(index, alike)
  }

  /** The chance of the node of this index, as it starts. */
  of(index: number): Effect.Effect<Random.Random> {
    return Effect.map(Random.Random, (own) => {
      const alike = this.loaded.get(index)
      if (alike === undefined) return own
      const first = new Prng(`names of ${alike}`)
      let left = letters
      return {
        nextDoubleUnsafe: () => (left-- > 0 ? first.nextDoubleUnsafe() : own.nextDoubleUnsafe()),
        nextIntUnsafe: () => own.nextIntUnsafe()
      }
    })
  }
}

const prefix = "dnsaddr="

/** Hears who announces itself under which name. */
export class Listener {
  /** By the text of the peer id: the name that was heard last. */
  private readonly names = new Map<string, string>()

  hear(bytes: Uint8Array): void {
    const packet = Packet.decode(bytes)
    if (Result.isFailure(packet)) return
    for (const rec of [...packet.success.answers, ...packet.success.additionals]) {
      if (rec.type !== "TXT" || rec.ttl === 0) continue
      for (const text of rec.texts) {
        const words = Bytes.toUtf8(text)
        const id = words.startsWith(prefix) ? words.split("/").at(-1) : undefined
        if (id !== undefined) this.names.set(id, rec.name)
      }
    }
  }

  nameOf(peer: PeerId): string | undefined {
    return this.names.get(peer.toString())
  }
}
