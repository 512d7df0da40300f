/** Whole nodes in a private network under faults, with somebody who listens on the wire. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as NetworkKey from "../../src/data/NetworkKey.ts"
import * as Yamux from "../../src/layers/muxer/Yamux.ts"
import * as PrivateNetwork from "../../src/layers/pnet/PrivateNetwork.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import { start } from "../../src/layers/simulation/Simulate.ts"
import * as Tcp from "../../src/layers/transport/Tcp.ts"
import { find } from "../../src/programs/sim/Run.ts"
import { layerOf } from "../../src/programs/sim/Agent.ts"
import { program, scheduleOf } from "../../src/programs/sim/Scenario.ts"
import { type RawConnection, Transport } from "../../src/services/Transport.ts"

const key = Result.getOrThrow(NetworkKey.fromBytes(new Uint8Array(32).fill(9)))

/** What libp2p is known by, and the protocols of the scenario. */
const telltale = ["/multistream", "/noise", "/yamux", "/ipfs/", "/sim/", "libp2p"]

/** Listens to what TCP is given to send, and counts it. */
class Eavesdropper {
  bytes = 0
  readonly heard = new Set<string>()

  hear(bytes: Uint8Array): void {
    this.bytes += bytes.length
    for (const word of telltale) {
      if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(word)) this.heard.add(word)
    }
  }

  /** The transport beneath, overheard. */
  get layer() {
    const tap = (raw: RawConnection): RawConnection => {
      const tryWrite = raw.tryWrite.bind(raw)
      return Object.assign(raw, {
        tryWrite: (bytes: Uint8Array) => {
          const taken = tryWrite(bytes)
          this.hear(bytes.subarray(0, taken))
          return taken
        }
      })
    }
    return Layer.effect(
      Transport,
      Effect.map(Tcp.make, (tcp) => ({
        transports: [
          {
            ...tcp,
            dial: (...args: Parameters<typeof tcp.dial>) => Effect.map(tcp.dial(...args), tap),
            listen: (...args: Parameters<typeof tcp.listen>) =>
              Effect.map(tcp.listen(...args), (listener) => ({ ...listener, accept: Effect.map(listener.accept, tap) }))
          }
        ]
      }))
    )
  }
}

const runOf = (name: string, seed: number, nodes: number, durationMs: number, isPrivate: boolean) => {
  const scenario = find(name)
  if (scenario === undefined) return assert.fail(`there is no ${name}`)
  const eavesdropper = new Eavesdropper()
  const tcp = eavesdropper.layer
  const transport = isPrivate ? PrivateNetwork.layer(key).pipe(Layer.provide(tcp), Layer.orDie) : tcp
  const layer = layerOf({ below: Layer.mergeAll(transport, Noise.layer, Yamux.layer()) })
  const running = start(
    { seed, nodes, layer, link: scenario.link, until: durationMs + 1_800_000 },
    program(scenario, durationMs, scheduleOf(scenario, seed, nodes, durationMs))
  )
  for (let next = running.next(); ; next = running.next())
    if (next.done === true) return { ...next.value, eavesdropper }
}

describe("a private network under faults", () => {
  it("keeps its promises, repeats from its seed, and says nothing in the clear", () => {
    for (const [name, seed] of [
      ["storm", 1],
      ["upgrade", 2],
      ["slow", 3]
    ] as const) {
      const report = runOf(name, seed, 6, 60_000, true)
      assert.isUndefined(report.problem, `${name}, seed ${seed}`)
      assert.isAbove(report.eavesdropper.bytes, 10_000)
      assert.deepStrictEqual([...report.eavesdropper.heard], [])
    }
    const first = runOf("storm", 1, 6, 20_000, true)
    assert.strictEqual(runOf("storm", 1, 6, 20_000, true).hash, first.hash)
  })

  it("the same nodes without the key are overheard", () => {
    const { eavesdropper } = runOf("storm", 1, 6, 10_000, false)
    assert.includeMembers([...eavesdropper.heard], ["/multistream", "/noise"])
  })
})
