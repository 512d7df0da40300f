import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { isPrintable, printable } from "../../src/data/Printable.ts"

const most = 128

describe("text of others", () => {
  it("is shown as it is where it can be, and cut where it is long", () => {
    assert.strictEqual(printable("kubo/0.30 😀 é 日本", most), "kubo/0.30 😀 é 日本")
    assert.strictEqual(Array.from(printable("😀".repeat(1000), most)).length, most)
    assert.strictEqual(printable("go\u001b[31m\r\n\u202e/0.1", most), "go\ufffd[31m\ufffd\ufffd\ufffd/0.1")
  })

  it.effect.prop("whatever it is", [Schema.String], ([text]) =>
    Effect.sync(() => {
      const shown = printable(text, most)
      assert.isAtMost(Array.from(shown).length, most)
      assert.isTrue(isPrintable(shown))
      assert.strictEqual(printable(shown, most), shown)
      if (isPrintable(text) && text.length <= most) assert.strictEqual(shown, text)
    })
  )
})
