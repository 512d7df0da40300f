import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NodeMachine from "../../../src/layers/net/NodeMachine.ts"
import { Machine } from "../../../src/services/Machine.ts"

const proc = (files: string): string =>
  [
    "Limit                     Soft Limit           Hard Limit           Units     ",
    "Max processes             127812               127812               processes ",
    `Max open files            ${files.padEnd(20)} 1048576              files     `,
    "Max locked memory         8388608              8388608              bytes     ",
    ""
  ].join("\n")

describe("NodeMachine", () => {
  it("reads the soft limit of files", () => {
    assert.strictEqual(NodeMachine.filesOf(proc("1024")), 1024)
    assert.strictEqual(NodeMachine.filesOf(proc("unlimited")), 1_048_576)
    assert.isUndefined(NodeMachine.filesOf("Max open file 12"))
    assert.isUndefined(NodeMachine.filesOf(""))
  })

  it("takes the smaller of the container's and the machine's memory", () => {
    assert.strictEqual(NodeMachine.memoryOf(0, 100), 100)
    assert.strictEqual(NodeMachine.memoryOf(40, 100), 40)
    // Without a container Linux reports a number beyond any machine.
    assert.strictEqual(NodeMachine.memoryOf(2 ** 63, 100), 100)
  })

  it.effect("tells the machine that it runs on, and without it a small one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Machine, { memory: 2 * 1024 ** 3, files: 4096 })
      const machine = yield* Effect.provide(Machine, NodeMachine.layer)
      assert.isAtLeast(machine.memory, 16 * 1024 ** 2)
      assert.isAtLeast(machine.files, 16)
    })
  )
})
