import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Chat from "../examples/chat.ts"
import * as Echo from "../examples/echo.ts"
import * as IprsExample from "../examples/iprs.ts"
import * as DhtExample from "../examples/dht.ts"
import * as Lan from "../examples/lan.ts"
import * as Layers from "../examples/layers.ts"
import * as Routing from "../examples/routing.ts"
import * as Records from "../examples/records.ts"
import { Swarm } from "../src/services/Swarm.ts"
import { name, version } from "../src/data/Version.ts"
import { layerDefault } from "../src/layers/Libp2p.ts"
import packageJson from "../package.json" with { type: "json" }

describe("examples", () => {
  it.live("echo", () => Effect.map(Echo.program, (text) => assert.strictEqual(text, "hello")))

  it.live("chat", () =>
    Effect.gen(function* () {
      const server = yield* Swarm
      const target = { peer: server.peerId, addresses: yield* server.listenAddresses }
      const answer = yield* Effect.provide(Chat.ask(target, "you"), layerDefault(), { local: true })
      assert.deepStrictEqual(answer, { from: "server", text: "hello you" })
    }).pipe(Effect.provide(Chat.ChatNode))
  )

  it.live("records", () =>
    Effect.map(Records.program, (found) => assert.deepStrictEqual(found, { best: 2, because: "RecordOutdated" }))
  )

  it.live("iprs", () =>
    Effect.map(IprsExample.program, (found) =>
      assert.deepStrictEqual(found, { text: "I have been here for a while", because: "RecordOutdated" })
    )
  )

  it.live("dht", () =>
    Effect.map(DhtExample.program, ({ byDht, byHub }) =>
      assert.deepStrictEqual(
        [byDht, byHub].map((found) => found.flatMap(({ addresses }) => addresses.map(String))),
        [["/ip4/10.0.0.2/tcp/4001"], ["/ip4/10.0.0.4/tcp/4001"]]
      )
    )
  )

  it.live("lan", () =>
    Effect.map(Lan.program, ({ change, found, holder }) => {
      assert.strictEqual(change._tag, "Some")
      assert.strictEqual(found._tag === "Some" ? found.value.peer.toString() : "", holder.toString())
    })
  )

  it.live("layers", () => Effect.map(Layers.program, (rtts) => assert.lengthOf(rtts, 3)))

  it.live("routing", () =>
    Effect.map(Routing.program, ({ found, met, rtts }) => {
      assert.deepInclude(met, { _tag: "Some" })
      assert.deepStrictEqual(found.addresses.map(String), ["/ip4/10.0.0.1/tcp/4001"])
      assert.lengthOf(rtts, 1)
    })
  )
})

describe("README and docs", () => {
  it("show the examples as they are run here", () => {
    const pages = [
      "README.md",
      ...readdirSync("docs")
        .filter((file) => file.endsWith(".md"))
        .map((file) => `docs/${file}`)
    ]
    const blocks = pages.flatMap((page) =>
      [...readFileSync(page, "utf8").matchAll(/```ts example=(\S+)\n([\s\S]*?)```/g)].map((match) => ({
        page,
        file: match[1],
        code: match[2]
      }))
    )
    assert.isAtLeast(blocks.length, 3)
    for (const { code, file, page } of blocks) {
      assert.strictEqual(code, readFileSync(`examples/${file}`, "utf8"), `${page} shows another ${file}`)
    }
  })

  it("the version told to peers is that of the package", () => {
    assert.deepStrictEqual([name, version], [packageJson.name, packageJson.version])
  })
})
