import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { Opened } from "../../../../src/layers/security/tls/Opened.ts"

/** A step: a record of so many bytes comes, or, with none, what there is is read. */
const steps = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 120_000 })))

describe("Opened", () => {
  it.prop("gives what was pushed, in order, each batch as it was until the next is taken", [steps], ([sizes]) => {
    const opened = new Opened()
    const read: Array<Uint8Array> = []
    const pushed: Array<Uint8Array> = []
    let lent: { readonly batch: Uint8Array; readonly copy: Uint8Array } | undefined
    const take = () => {
      if (lent !== undefined) assert.deepStrictEqual(lent.batch, lent.copy)
      const batch = opened.take()
      lent = batch === undefined ? undefined : { batch, copy: new Uint8Array(batch) }
      if (lent !== undefined) read.push(lent.copy)
      return batch
    }
    for (const [i, size] of sizes.entries()) {
      if (size === 0) take()
      else {
        pushed.push(new Uint8Array(size).fill(i + 1))
        opened.push(new Uint8Array(size).fill(i + 1))
        assert.isFalse(opened.isEmpty)
      }
    }
    while (take() !== undefined) assert.isDefined(lent)
    assert.isTrue(opened.isEmpty)
    assert.isTrue(Bytes.equals(Bytes.concat(read), Bytes.concat(pushed)))
  })

  it("joins the records of a batch, and gives their memory back", () => {
    const opened = new Opened()
    const records = [1, 2, 3, 4].map((byte) => new Uint8Array(16 * 1024).fill(byte))
    for (const record of records) opened.push(record)
    assert.strictEqual(opened.take()?.length, 64 * 1024)
    for (const record of records) assert.strictEqual(record.length, 0)
    assert.isUndefined(opened.take())
  })

  it("uses its buffers again, also where a batch takes more than one", () => {
    const opened = new Opened()
    const used = new Set<unknown>()
    for (let i = 0; i < 20; i++) {
      for (let record = 0; record < 16; record++) opened.push(new Uint8Array(16 * 1024))
      for (let batch = opened.take(); batch !== undefined; batch = opened.take()) used.add(batch.buffer)
    }
    assert.isAtMost(used.size, 8)
  })

  it("leaves a small record where it is", () => {
    const opened = new Opened()
    const record = Uint8Array.of(1, 2, 3)
    opened.push(record)
    assert.strictEqual(opened.take(), record)
  })

  it("drops what was not read", () => {
    const opened = new Opened()
    opened.push(Uint8Array.of(1))
    opened.push(new Uint8Array(5000))
    opened.clear()
    assert.isTrue(opened.isEmpty)
    assert.isUndefined(opened.take())
  })
})
