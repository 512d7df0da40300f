/** What storms on the byte path are made of: chance, and both directions of a stream against what was written. */
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber, type Scheduler } from "effect"
import { pattern } from "../../src/conformance/ByteStream.ts"
import { Prng } from "../../src/layers/simulation/Prng.ts"
import type { ByteStream, StreamError } from "../../src/services/ByteStream.ts"

/** Chance, and how large pieces are in a storm: a few bytes each, or more than a message of Noise holds. */
export class Chance extends Prng {
  readonly #grain: number

  constructor(name: string) {
    super(name)
    this.#grain = this.pick([3, 30, 500, 5000, 40_000])
  }

  size(): number {
    return 1 + this.below(this.#grain * 2)
  }

  /** A rest for a moment, or for a turn. */
  get pause(): Effect.Effect<void> {
    return this.chance(0.5) ? Effect.yieldNow : Effect.sleep(this.below(3))
  }

  /** Some of them in a row. */
  pauses(most: number): Effect.Effect<void> {
    return Effect.forEach(Array.from({ length: this.below(most) }), () => this.pause, { discard: true })
  }
}

/**
 * The same stream, read as a socket is: in pieces of any size, which are overwritten by the next read, and once
 * whoever read is suspended.
 */
export const lending = (raw: ByteStream, dispatcher: Scheduler.SchedulerDispatcher, random: Chance): ByteStream => {
  let rest = new Uint8Array(0)
  let last = new Uint8Array(0)
  return {
    ownedReads: false,
    copiesWrites: raw.copiesWrites,
    tryRead: () => {
      last.fill(0xdb)
      if (rest.length === 0) {
        const bytes = raw.tryRead()
        if (bytes === null || bytes === undefined) return bytes
        rest = new Uint8Array(bytes)
      }
      const given = rest.slice(0, random.size())
      rest = rest.subarray(given.length)
      last = given
      dispatcher.scheduleTask(() => given.fill(0xdb), 0)
      return given
    },
    get readable() {
      return Effect.suspend(() => (rest.length > 0 ? Effect.void : raw.readable))
    },
    tryWrite: (bytes) => raw.tryWrite(bytes),
    get writable() {
      return raw.writable
    },
    flush: () => raw.flush(),
    get closeWrite() {
      return raw.closeWrite
    },
    reset: (because) => {
      rest = new Uint8Array(0)
      raw.reset(because)
    }
  }
}

/** One direction of a stream: what went in, and what came out. */
export class Way {
  written = 0
  read = 0
  /** The end was written, and read. */
  closed = false
  ended = false
  readonly total: number
  readonly seed: number

  constructor(random: Chance) {
    this.total = random.size() * random.below(20)
    this.seed = random.uint32()
  }

  take(bytes: Uint8Array): void {
    assert.isAbove(bytes.length, 0)
    const expected = pattern(this.read, bytes.length, this.seed)
    if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(expected)) {
      assert.fail(`a byte between ${this.read} and ${this.read + bytes.length} is wrong`)
    }
    this.read += bytes.length
    assert.isAtMost(this.read, this.written, "more was read than written")
  }

  /** All went through. */
  complete(): void {
    assert.deepStrictEqual([this.written, this.read, this.closed, this.ended], [this.total, this.total, true, true])
  }
}

/** Writes what is left to be written. It can be interrupted, and begun again. */
export const writing = Effect.fnUntraced(function* (stream: ByteStream, way: Way, random: Chance) {
  while (way.written < way.total) {
    const piece = pattern(way.written, Math.min(random.size(), way.total - way.written), way.seed)
    const taken = stream.tryWrite(piece)
    way.written += taken
    if (random.chance(0.3)) stream.flush()
    if (taken < piece.length) yield* stream.writable
    else if (random.chance(0.3)) yield* random.pause
  }
  yield* stream.closeWrite
  way.closed = true
})

/** Reads what is left to be read. */
export const reading = Effect.fnUntraced(function* (stream: ByteStream, way: Way, random: Chance) {
  for (;;) {
    const bytes = stream.tryRead()
    if (bytes === undefined) yield* stream.readable
    else if (bytes === null) {
      way.ended = true
      return
    } else {
      way.take(bytes)
      if (random.chance(0.3)) yield* random.pause
    }
  }
})

/** Runs work that can be begun again, and interrupts it a few times. */
export const restless = Effect.fnUntraced(function* (work: Effect.Effect<void, StreamError>, random: Chance) {
  for (let times = random.below(12); times > 0; times -= 1) {
    const fiber = yield* Effect.forkChild(work)
    yield* random.pauses(8)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return yield* exit
    yield* Fiber.interrupt(fiber)
  }
  yield* work
})

/** Both directions of a stream, by one restless fiber for each end and direction; gives what failed. */
export const exchange = Effect.fnUntraced(function* (
  left: ByteStream,
  right: ByteStream,
  [there, back]: readonly [there: Way, back: Way],
  random: Chance
) {
  const work = [
    writing(left, there, random),
    reading(right, there, random),
    writing(right, back, random),
    reading(left, back, random)
  ]
  const exits = yield* Effect.all(
    work.map((one) => Effect.exit(restless(one, random))),
    { concurrency: "unbounded" }
  )
  return exits.filter(Exit.isFailure).map(String)
})

/** Both ways of a stream that nothing happens to. */
export const goesWhole = Effect.fnUntraced(function* (left: ByteStream, right: ByteStream, random: Chance) {
  const ways = [new Way(random), new Way(random)] as const
  assert.deepStrictEqual(yield* exchange(left, right, ways, random), [])
  for (const way of ways) way.complete()
})

/** One that is reset at some moment: nobody is left waiting, and no byte is wrong. */
export const isReset = Effect.fnUntraced(function* (left: ByteStream, right: ByteStream, random: Chance) {
  const exchanging = yield* Effect.forkChild(exchange(left, right, [new Way(random), new Way(random)], random))
  yield* random.pauses(40)
  random.pick([left, right]).reset("enough")
  yield* Fiber.join(exchanging)
})
