import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Silence } from "../../../../src/layers/kad/core/Silence.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"

const contacts = Array.from({ length: 2000 }, (_, i) => {
  const bytes = new Uint8Array(34)
  bytes.set([0x12, 32, i >>> 8, i & 0xff])
  return Key.contact(PeerId.parse(bytes) ?? assert.fail("no peer id"))
})
const at = (index: number) => contacts[index] ?? assert.fail(`no contact ${index}`)

describe("Silence", () => {
  it("lasts a minute, or until the peer is heard of", () => {
    const silence = new Silence()
    assert.isFalse(silence.has(at(0), 0))
    silence.add(at(0), 0)
    silence.add(at(1), 0)
    silence.end(at(1))
    assert.deepStrictEqual(
      [silence.has(at(0), 59_999), silence.has(at(1), 1), silence.has(at(0), 60_000)],
      [true, false, false]
    )
    silence.add(at(0), 70_000)
    silence.add(at(0), 100_000)
    assert.isTrue(silence.has(at(0), 159_999))
  })

  it("leaves out those that are silent, unless all are", () => {
    const silence = new Silence()
    const three = contacts.slice(0, 3)
    assert.deepStrictEqual(silence.without(three, 0), three)
    silence.add(at(1), 0)
    assert.deepStrictEqual(silence.without(three, 0), [at(0), at(2)])
    for (const contact of three) silence.add(contact, 0)
    assert.deepStrictEqual(silence.without(three, 0), three)
  })

  it("remembers a thousand, those last that were silent last", () => {
    const silence = new Silence()
    for (const contact of contacts) silence.add(contact, 0)
    assert.strictEqual(contacts.filter((contact) => silence.has(contact, 1)).length, 1024)
    assert.isTrue(silence.has(at(1999), 1))
  })
})
