import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FileSystem } from "effect"
import * as Settings from "../../src/programs/cli/Settings.ts"

const inFolder = <E>(
  test: (
    folder: string,
    write: (text: string) => Effect.Effect<string>
  ) => Effect.Effect<void, E, FileSystem.FileSystem>
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = yield* fs.makeTempDirectoryScoped({ prefix: "settings-" })
    const path = `${folder}/config.json`
    yield* test(folder, (text) => Effect.orDie(Effect.as(fs.writeFileString(path, text), path)))
  }).pipe(Effect.provide(NodeFileSystem.layer))

const listening = (settings: Settings.Settings) => settings.listen.map(String)

describe("Settings", () => {
  it.effect("flag beats variable beats file beats default", () =>
    inFolder((_, write) =>
      Effect.gen(function* () {
        const config = yield* write(JSON.stringify({ listen: ["/ip4/127.0.0.1/tcp/1"], agent: "file", timeout: "3s" }))
        const env = {
          EFFECT_LIBP2P_LISTEN: "/ip4/127.0.0.1/tcp/2, /ip4/127.0.0.1/tcp/3",
          EFFECT_LIBP2P_AGENT: "variable"
        }
        const all = yield* Settings.resolve({ config, listen: ["/ip4/127.0.0.1/tcp/4"] }, env)
        assert.deepStrictEqual(listening(all), ["/ip4/127.0.0.1/tcp/4"])
        assert.strictEqual(all.agent, "variable")
        assert.strictEqual(Duration.toMillis(all.timeout), 3000)
        assert.isFalse(all.json)
        assert.deepStrictEqual(listening(yield* Settings.resolve({ config }, env)), [
          "/ip4/127.0.0.1/tcp/2",
          "/ip4/127.0.0.1/tcp/3"
        ])
        assert.deepStrictEqual(listening(yield* Settings.resolve({ config }, {})), ["/ip4/127.0.0.1/tcp/1"])
        assert.strictEqual((yield* Settings.resolve({}, { EFFECT_LIBP2P_CONFIG: config })).agent, "file")
      })
    )
  )

  it.effect("a path in the file is meant from where the file is", () =>
    inFolder((folder, write) =>
      Effect.gen(function* () {
        const config = yield* write(JSON.stringify({ identity: "keys/a.key" }))
        assert.strictEqual((yield* Settings.resolve({ config }, {})).identity, `${folder}/keys/a.key`)
      })
    )
  )

  it.effect("an error names where the value came from", () =>
    inFolder((_, write) =>
      Effect.gen(function* () {
        const message = (flags: Settings.Flags, env: Record<string, string> = {}) =>
          Effect.map(Effect.flip(Settings.resolve(flags, env)), (error) => error.message)
        assert.strictEqual(
          yield* message({ listen: ["/ip4/127.0.0.1/tcp/0", "foo"] }),
          '--listen: "foo" is not a multiaddr (an address starts with /)'
        )
        assert.include(yield* message({}, { EFFECT_LIBP2P_LISTEN: "foo" }), 'the variable EFFECT_LIBP2P_LISTEN: "foo"')
        assert.include(
          yield* message({}, { EFFECT_LIBP2P_JSON: "maybe" }),
          'EFFECT_LIBP2P_JSON: "maybe" is not true or false'
        )
        for (const [setting, value, why] of [
          ["listen", ["/ip4/1.2.3/tcp/1"], '"/ip4/1.2.3/tcp/1" is not a multiaddr'],
          ["listen", "/ip4/127.0.0.1/tcp/1", "is not a list of multiaddrs"],
          ["timeout", 5, "5 is not a time such as"],
          ["timeout", "5", '"5" is not a time such as'],
          ["identity", "", '"" is not the path of a file'],
          ["verbose", "x", '"x" is not true or false'],
          ["security", ["noise", "nois"], '"nois" is not noise, tls or plaintext'],
          ["security", [], "[] is not a list of noise, tls and plaintext"],
          ["security", "noise", '"noise" is not a list of noise, tls and plaintext'],
          ["muxers", ["yamux", "yamux"], "is not a list that names each once"],
          ["peerStore", "", '"" is not memory or the path of a file'],
          ["connections", "9..3", '"9..3" is not two numbers such as 160..192'],
          ["metrics", "localhost:1", "is not an address such as 127.0.0.1:9464"],
          ["metrics", "1.2.3.4:65536", "is not an address such as"],
          ["deny", ["1.2.3.4/33"], '"1.2.3.4/33" is not a peer id, or a network such as'],
          ["allow", ["12D3KooW"], '"12D3KooW" is not a network such as'],
          ["otlp", "127.0.0.1:4318", '"127.0.0.1:4318" is not a URL such as'],
          ["limits", 5, "5 is not limits such as"],
          ["limits", { system: { connections: -1 } }, "system.connections: -1 is not a number of 0 or more"],
          ["limits", { system: { conections: 1 } }, 'there is no "conections" in system'],
          ["limits", { sytem: {} }, 'there is no "sytem"; see docs/limits.md'],
          ["limits", { protocols: { "/a": { streams: "x" } } }, 'protocols./a.streams: "x" is not a number'],
          ["limits", { exempt: ["x"] }, 'exempt[0]: "x" is not a network']
        ] as const) {
          const config = yield* write(JSON.stringify({ [setting]: value }))
          const text = yield* message({ config })
          assert.include(text, `"${setting}" in ${config}: `)
          assert.include(text, why)
        }
      })
    )
  )

  it.effect("lists, addresses and bounds, from flags and variables", () =>
    inFolder((folder, write) =>
      Effect.gen(function* () {
        const otherwise = yield* Settings.resolve({}, { EFFECT_LIBP2P_CONFIG: yield* write("{}") })
        assert.deepStrictEqual(otherwise.security, ["noise", "tls"])
        assert.deepStrictEqual(otherwise.muxers, ["yamux"])
        assert.strictEqual(otherwise.peerStore, "memory")
        assert.isUndefined(otherwise.metrics)
        const config = yield* write(JSON.stringify({ metrics: 9464, peerStore: "peers.db", limits: "limits.json" }))
        const fs = yield* FileSystem.FileSystem
        yield* Effect.orDie(fs.writeFileString(`${folder}/limits.json`, '{"peer": {"connections": 3}}'))
        const found = yield* Settings.resolve(
          { config, security: "tls, noise" },
          { EFFECT_LIBP2P_MUXERS: "mplex,yamux", EFFECT_LIBP2P_CONNECTIONS: "1..2" }
        )
        assert.deepStrictEqual(found.security, ["tls", "noise"])
        assert.deepStrictEqual(found.muxers, ["mplex", "yamux"])
        assert.deepStrictEqual(found.connections, { low: 1, high: 2 })
        assert.deepStrictEqual(found.metrics, { host: "127.0.0.1", port: 9464 })
        assert.strictEqual(found.peerStore, `${folder}/peers.db`)
        assert.deepStrictEqual(found.limits, { peer: { connections: 3 } })
        const { metrics, peerStore } = yield* Settings.resolve(
          { config, metrics: "[::1]:1" },
          { EFFECT_LIBP2P_PEER_STORE: "memory" }
        )
        assert.deepStrictEqual(metrics, { host: "::1", port: 1 })
        assert.strictEqual(peerStore, "memory")
        yield* Effect.orDie(fs.writeFileString(`${folder}/limits.json`, '{"peer": {"connections": "x"}}'))
        const error = yield* Effect.flip(Settings.resolve({ config }, {}))
        assert.strictEqual(
          error.message,
          `${folder}/limits.json ("limits" in ${config}): peer.connections: "x" is not a number`
        )
        const missing = yield* Effect.flip(Settings.resolve({ limits: `${folder}/none` }, {}))
        assert.strictEqual(missing.message, `${folder}/none (--limits): there is no such limits file`)
      })
    )
  )

  it.effect("a file that cannot be used is an error that names it", () =>
    inFolder((folder, write) =>
      Effect.gen(function* () {
        for (const [text, why] of [
          ['{"listn": []}', 'there is no setting "listn"'],
          ['{"listen": tru}', "it is not JSON"],
          ["[]", "JSON object"]
        ] as const) {
          const config = yield* write(text)
          const error = yield* Effect.flip(Settings.resolve({ config }, {}))
          assert.strictEqual(error.where, config)
          assert.include(error.detail, why)
        }
        const missing = yield* Effect.flip(Settings.resolve({ config: `${folder}/none.json` }, {}))
        assert.include(missing.message, "no such configuration file")
      })
    )
  )
})
