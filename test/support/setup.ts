/** Runs around every test: nothing may be left behind, and no promise may be rejected unheard. */
import { afterAll, afterEach, beforeAll, beforeEach, chai } from "vitest"
import { leftBehind, type Resources, resources, watchTimers } from "./leaks.ts"

watchTimers()

// Each assertion made a proxy, against misspelt properties of `expect`; we call functions, whose names are type-checked.
chai.config.useProxy = false

let beforeFile: Resources = new Map()
let beforeTest: Resources = new Map()
let rejections: Array<unknown> = []
const rejected = (reason: unknown): void => {
  rejections.push(reason)
}

const check = async (what: string, baseline: Resources): Promise<void> => {
  const left = await leftBehind(baseline)
  const unheard = rejections
  rejections = []
  if (unheard.length > 0) throw new Error(`${what} left a rejection unhandled`, { cause: unheard[0] })
  if (left.length > 0) throw new Error(`${what} left open: ${left.join(", ")}`)
}

beforeAll(() => {
  process.on("unhandledRejection", rejected)
  beforeFile = resources()
})
beforeEach(() => {
  beforeTest = resources()
})
afterEach(({ task }) => check(`the test "${task.name}"`, beforeTest))
afterAll(async () => {
  await check("the file", beforeFile)
  process.off("unhandledRejection", rejected)
})
