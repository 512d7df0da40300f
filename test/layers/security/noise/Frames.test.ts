import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { frame, FrameReader } from "../../../../src/layers/security/noise/Frames.ts"

/** Cuts `bytes` into pieces of the sizes given, over and over, and reads messages out of them. */
const read = (bytes: Uint8Array, sizes: ReadonlyArray<number>) => {
  const frames = new FrameReader()
  const messages: Array<Uint8Array> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    // The batch is lent: it is overwritten once it was read.
    const batch = Uint8Array.from(bytes.subarray(at, at + size))
    frames.feed(batch)
    for (let message = frames.next(); message !== undefined; message = frames.next()) {
      messages.push(Uint8Array.from(message))
    }
    batch.fill(0xaa)
    at += size
  }
  return { messages, frames }
}

describe("FrameReader", () => {
  const messages = [0, 1, 2, 15, 300, 5000, 4096, 4097, 65535, 0, 0, 7, 65535, 40].map((size) =>
    Uint8Array.from({ length: size }, (_, i) => i + size)
  )
  const bytes = Bytes.concat(messages.map(frame))

  for (const sizes of [[1], [2], [3], [1000], [1, 2, 3, 70_000], [65_536], [200_000]]) {
    it(`puts messages together from pieces of ${sizes.join(", ")}`, () => {
      const got = read(bytes, sizes)
      assert.strictEqual(got.messages.length, messages.length)
      got.messages.forEach((message, i) => assert.isTrue(Bytes.equals(message, messages[i] ?? assert.fail())))
      assert.isFalse(got.frames.partial)
    })
  }

  it("tells where a stream must not end", () => {
    const whole = frame(Uint8Array.of(1, 2, 3))
    for (let n = 1; n < whole.length; n++) assert.isTrue(read(whole.subarray(0, n), [n]).frames.partial, `${n} bytes`)
    assert.isFalse(read(whole, [5]).frames.partial)
  })

  it("gives a message that lies whole in a batch without a copy", () => {
    const frames = new FrameReader()
    const batch = frame(Uint8Array.of(1, 2, 3))
    frames.feed(batch)
    assert.strictEqual(frames.next()?.buffer, batch.buffer)
  })

  it("hands over what follows the last message taken", () => {
    const frames = new FrameReader()
    frames.feed(Bytes.concat([frame(Uint8Array.of(1)), Uint8Array.of(0, 9, 9)]))
    assert.deepStrictEqual(frames.next(), Uint8Array.of(1))
    assert.deepStrictEqual(frames.rest(), Uint8Array.of(0, 9, 9))
  })
})
