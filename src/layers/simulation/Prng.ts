/**
 * Random numbers that follow from a seed. Each part of a simulation draws from
 * a generator of its own, named after the part, so that a change in one does
 * not shift the numbers of another.
 *
 * Not for secrets: see the honest limits in docs/simulation.md.
 */
import type * as Random from "effect/Random"

/** sfc32, seeded with the text. Fast, 128 bits of state, passes the usual batteries. */
export class Prng implements Random.Random {
  private readonly name: string
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(name: string) {
    this.name = name
    // Four hashes of the name (FNV-1a with different offsets) are the state.
    const hash = (offset: number): number => {
      let h = 0x811c9dc5 ^ offset
      for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193)
      return h | 0
    }
    this.a = hash(0)
    this.b = hash(0x9e3779b9)
    this.c = hash(0x85ebca6b)
    for (let i = 0; i < 16; i++) this.uint32()
  }

  /** A generator that is independent of this one and of what was drawn from it. */
  fork(name: string): Prng {
    return new Prng(`${this.name}/${name}`)
  }

  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const t = (((this.a + this.b) | 0) + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** From 0, included, to 1, excluded. */
  nextDoubleUnsafe(): number {
    return this.uint32() / 4294967296
  }

  nextIntUnsafe(): number {
    return (this.uint32() % 2097152) * 4294967296 + this.uint32()
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor(this.nextDoubleUnsafe() * below)
  }

  /** True with this probability. Draws even for 0 and 1, so that changing a probability shifts nothing else. */
  chance(probability: number): boolean {
    return this.nextDoubleUnsafe() < probability
  }

  bytes(size: number): Uint8Array {
    const bytes = new Uint8Array(size)
    const view = new DataView(bytes.buffer)
    const whole = size & ~3
    for (let i = 0; i < whole; i += 4) view.setUint32(i, this.uint32(), true)
    if (whole < size) {
      const word = this.uint32()
      for (let j = whole; j < size; j++) bytes[j] = word >>> (8 * (j - whole))
    }
    return bytes
  }

  /** One of them, each as likely. */
  pick<A>(items: readonly [A, ...Array<A>]): A
  pick<A>(items: ReadonlyArray<A>): A | undefined
  pick<A>(items: ReadonlyArray<A>): A | undefined {
    return items[this.below(items.length)]
  }
}
