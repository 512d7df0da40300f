import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NodeCrypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Key from "../../src/programs/cli/KeyCommand.ts"
import { type Event, Output } from "../../src/programs/cli/Output.ts"
import { events, makeHome, run } from "./Program.ts"

/** Runs a command in this process; gives the one event that it prints. */
const print = <E>(command: Effect.Effect<void, E, Output>): Effect.Effect<Event | undefined, E> =>
  Effect.suspend(() => {
    const printed: Array<Event> = []
    return Effect.as(command, printed).pipe(
      Effect.provideService(Output, {
        json: true,
        event: (event) => Effect.sync(() => void printed.push(event)),
        text: () => Effect.void
      }),
      Effect.map((all) => all[0])
    )
  })

describe("effect-libp2p key", () => {
  it.live.each(Key.typeNames)("%s: made, exported in each form and imported again, it is the same key", (type) =>
    Effect.gen(function* () {
      const home = makeHome()
      const file = Path.join(home, "a.key")
      const made = yield* print(Key.generate({ type, bits: undefined, out: file, force: false }))
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      assert.isString(made?.["peer"])
      for (const format of Key.formats) {
        const out = Path.join(home, `${format}.out`)
        const back = Path.join(home, `${format}.key`)
        yield* print(Key.exportKey({ from: file, format, out, force: false }))
        const imported = yield* print(Key.importKey({ from: out, out: back, force: false }))
        assert.strictEqual(imported?.["peer"], made?.["peer"])
        assert.deepStrictEqual(Fs.readFileSync(back), Fs.readFileSync(file))
      }
      assert.deepStrictEqual(Fs.readFileSync(Path.join(home, "protobuf.out")), Fs.readFileSync(file))
      assert.strictEqual(NodeCrypto.createPrivateKey(Fs.readFileSync(Path.join(home, "pem.out"))).type, "private")
    })
  )

  it.live("overwrites nothing without --force", () =>
    Effect.gen(function* () {
      const home = makeHome()
      const file = Path.join(home, "a.key")
      const make = (force: boolean) => print(Key.generate({ type: "ed25519", bits: undefined, out: file, force }))
      yield* make(false)
      const before = Fs.readFileSync(file)
      for (const again of [
        make(false),
        print(Key.importKey({ from: file, out: file, force: false })),
        print(Key.exportKey({ from: file, format: "base64", out: file, force: false }))
      ]) {
        assert.include(String(yield* Effect.flip(again)), "--force")
        assert.deepStrictEqual(Fs.readFileSync(file), before)
      }
      yield* make(true)
      assert.notDeepEqual(Fs.readFileSync(file), before)
      assert.deepStrictEqual(Fs.readdirSync(home), ["a.key"])
    })
  )

  it.live("a folder is not taken for a file, with --force or without", () =>
    Effect.gen(function* () {
      const home = makeHome()
      for (const force of [false, true]) {
        const made = print(Key.generate({ type: "ed25519", bits: undefined, out: home, force }))
        assert.include((yield* Effect.flip(made)).message, `${home} is a folder`)
      }
      assert.deepStrictEqual(Fs.readdirSync(home), [])
    })
  )

  it.live("what is no key is not imported", () =>
    Effect.gen(function* () {
      const home = makeHome()
      const from = Path.join(home, "from")
      const curve = NodeCrypto.generateKeyPairSync("ec", { namedCurve: "secp384r1" }).privateKey
      for (const text of [
        "",
        "hello",
        "CAES",
        "-----BEGIN PRIVATE KEY-----\n",
        curve.export({ format: "pem", type: "pkcs8" })
      ]) {
        Fs.writeFileSync(from, text)
        const error = yield* Effect.flip(print(Key.importKey({ from, out: Path.join(home, "out"), force: false })))
        assert.include(error.message, from)
        assert.deepStrictEqual(Fs.readdirSync(home), ["from"])
      }
    })
  )

  it("import reads stdin; show tells the public half and never the private one; a second import is refused", async () => {
    const home = makeHome()
    const pem = NodeCrypto.generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" })
    const imported = await run(home, ["key", "import", "-", "--json"], { stdin: pem })
    assert.strictEqual(imported.code, 0, imported.stderr)
    assert.strictEqual(events(imported.stdout).length, 1)
    const bytes = Fs.readFileSync(Path.join(home, ".local/share/effect-libp2p/identity.key"))
    const seed = bytes.subarray(4, 36)
    const shown = await run(home, ["key", "show"])
    assert.strictEqual(shown.code, 0, shown.stderr)
    assert.match(shown.stdout, /12D3KooW\w{44}/)
    assert.match(shown.stdout, /bafz\w+/)
    const publicKey = Buffer.from(/public key\s+(\S+)/.exec(shown.stdout)?.[1] ?? "", "base64")
    assert.deepStrictEqual(publicKey.subarray(4), bytes.subarray(36))
    for (const text of [
      seed.toString("hex"),
      seed.toString("base64").slice(0, 40),
      bytes.toString("base64").slice(8, 40)
    ]) {
      assert.notInclude(imported.stdout + shown.stdout + shown.stderr, text)
    }
    const refused = await run(home, ["key", "import", "-"], { stdin: pem })
    assert.strictEqual(refused.code, 1)
    assert.match(refused.stderr, /^effect-libp2p: [^\n]*--force[^\n]*\n$/)
  })
})
