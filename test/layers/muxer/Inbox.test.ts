/** The inbox of a stream against a plain queue of bytes, of batches that are its own and of batches that are lent. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Inbox } from "../../../src/layers/muxer/internal/Inbox.ts"

const random = (seed: number) => {
  let state = seed >>> 0
  return (most: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * most)
  }
}

const overwritten = 0xdb

const check = (seed: number, lent: boolean) => {
  const pick = random(seed)
  const inbox = new Inbox()
  let written = 0
  let read = 0
  const take = (): boolean => {
    const bytes = inbox.shift(lent)
    if (bytes === undefined) return false
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== read % overwritten) assert.fail(`byte ${read} is ${bytes[i]}`)
      read += 1
    }
    return true
  }
  for (let step = 0; step < 200; step++) {
    const batch = new Uint8Array(pick(3) === 0 ? 20_000 : 200)
    let at = 0
    for (let frame = pick(12); frame > 0 && at < batch.length; frame--) {
      // Between frames of this stream there are those of others.
      const from = at + pick(batch.length >> 3)
      const piece = batch.subarray(from, from + 1 + pick(pick(2) === 0 ? 20 : batch.length))
      for (let i = 0; i < piece.length; i++) piece[i] = written++ % overwritten
      at = from + piece.length
      if (piece.length > 0) inbox.push(piece)
    }
    // Some readers take what came at once, some a part, some nothing.
    for (let reads = pick(3) === 0 ? 0 : pick(14); reads > 0 && take(); reads--);
    inbox.settle(lent)
    if (lent) batch.fill(overwritten)
    if (pick(4) === 0) take()
    assert.strictEqual(inbox.size, written - read)
  }
  while (take());
  assert.deepStrictEqual([inbox.size, read], [0, written])
}

describe("Inbox", () => {
  it.prop("gives what was put in, in order", { seed: Schema.Int }, ({ seed }) => {
    check(seed, false)
  })

  it.prop("keeps what was not read of a batch that is lent", { seed: Schema.Int }, ({ seed }) => {
    check(seed, true)
  })
})
