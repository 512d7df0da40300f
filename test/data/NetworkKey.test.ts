import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { inspect } from "node:util"
import * as Bytes from "../../src/data/Bytes.ts"
import * as NetworkKey from "../../src/data/NetworkKey.ts"

const digits = "dffb7e3135399a8b1612b2aaca1c36a3a8ac2cd0cca51ceeb2ced87d308cac6d"
const bytes = Buffer.from(digits, "hex")
const base64 = bytes.toString("base64")
const head = "/key/swarm/psk/1.0.0/"

/** The bytes that a file holds, or the message that refuses it. */
const read = (file: string | Uint8Array): string =>
  Result.match(NetworkKey.decode(typeof file === "string" ? Bytes.fromUtf8(file) : file), {
    onFailure: ({ message }) => message,
    onSuccess: (key) => Bytes.toHex(key.bytes)
  })

const bin = (...after: ReadonlyArray<number>) =>
  Bytes.concat([Bytes.fromUtf8(`${head}\n/bin/\n`), bytes, Uint8Array.from(after)])

describe("NetworkKey", () => {
  it("reads what go-libp2p, js-libp2p and rust-libp2p write, with the line ends of either system", () => {
    for (const end of ["\n", "\r\n"]) {
      for (const last of ["", end, `${end}${end}`]) {
        assert.strictEqual(read(`${head}${end}/base16/${end}${digits}${last}`), digits)
        assert.strictEqual(read(`${head}${end}/base16/${end}${digits.toUpperCase()}${last}`), digits)
        assert.strictEqual(read(`${head}${end}/base64/${end}${base64}${last}`), digits)
      }
    }
    assert.strictEqual(read(bin()), digits)
    assert.strictEqual(read(bin(0x0a)), digits)
    assert.strictEqual(read(bin(0x0d, 0x0a)), digits)
  })

  it("a binary key may hold the bytes of line ends", () => {
    const feeds = new Uint8Array(32).fill(0x0a)
    const file = Bytes.concat([Bytes.fromUtf8(`${head}\n/bin/\n`), feeds])
    assert.strictEqual(read(file), "0a".repeat(32))
  })

  it("says which line of a file is wrong and what it should be, and nothing of what it holds", () => {
    const cases: ReadonlyArray<readonly [string | Uint8Array, string]> = [
      ["", `line 1 must be ${head}, and the file is empty`],
      [digits, `line 1 must be ${head}`],
      [`/key/swarm/psk/2.0.0/\n/base16/\n${digits}\n`, `line 1 must be ${head}`],
      [new Uint8Array(5000).fill(0x61), "line 1 is of a file with 5000 bytes"],
      [head, "line 2 must say how the key is written: /base16/, /base64/ or /bin/"],
      [`${head}\n${digits}\n`, "line 2 must say how"],
      [`${head}\n/base58/\n${digits}\n`, "line 2 must say how"],
      [`${head}\n/base16/\n`, "line 3 must be the key, and is not there"],
      [`${head}\n/base16/\n${digits.slice(2)}`, "line 3 must be the key: 64 hexadecimal digits; it has 62"],
      [`${head}\n/base16/\n${digits.slice(1)}x`, "line 3 must be the key: 64 hexadecimal digits, and it is"],
      [`${head}\n/base16/\n${digits}\n${digits}\n`, "line 4 must not be there"],
      [
        `${head}\n/base64/\n${base64.slice(4)}`,
        "line 3 must be the key: 44 characters of base64, for 32 bytes; it has 40"
      ],
      [`${head}\n/base64/\n${digits}`, "line 3 must be the key: 44 characters of base64, for 32 bytes"],
      [bin().subarray(0, -1), "line 3 must be the 32 bytes of the key, and has 31"],
      [bin(1), "line 3 must be the 32 bytes of the key alone: 1 more follow"],
      [bin(0x0a, 0x0a, 0x0a), "line 3 must be the 32 bytes of the key alone: 3 more follow"]
    ]
    for (const [file, message] of cases) {
      const said = read(file)
      assert.isTrue(said.startsWith(message), `${said} for ${JSON.stringify(file)}`)
      for (const secret of [digits.slice(10, 20), base64.slice(10, 20)]) assert.notInclude(said, secret)
    }
  })

  it("shows its fingerprint and never itself", () => {
    const key = Result.getOrThrow(NetworkKey.fromBytes(bytes))
    for (const shown of [String(key), JSON.stringify({ key }), inspect(key), inspect({ key }, { showHidden: true })]) {
      assert.include(shown, key.fingerprint)
      assert.notInclude(shown, digits.slice(0, 8))
    }
    assert.strictEqual(Object.keys(key).length, 0)
  })

  // By go-libp2p-pnet's fingerprint.go, with golang.org/x/crypto.
  it("has the fingerprint that go-libp2p gives it", () => {
    const of = (key: Uint8Array) => Result.getOrThrow(NetworkKey.fromBytes(key)).fingerprint
    assert.strictEqual(of(new Uint8Array(32)), "708a75afd05affb08736cbf17c73773e")
    assert.strictEqual(of(bytes), "b0e010a0aabd8fcfa4b1cdf9280dc513")
  })

  it("takes 32 bytes and no others, and keeps a copy", () => {
    for (const length of [0, 16, 31, 33, 64]) {
      assert.isTrue(Result.isFailure(NetworkKey.fromBytes(new Uint8Array(length))), `${length} bytes`)
    }
    const own = Uint8Array.from(bytes)
    const key = Result.getOrThrow(NetworkKey.fromBytes(own))
    own.fill(0)
    assert.strictEqual(Bytes.toHex(key.bytes), digits)
  })

  it.effect.prop("what is written is read again, in each encoding", [Schema.Uint8Array], ([some]) =>
    Effect.sync(() => {
      const raw = new Uint8Array(32)
      raw.set(some.subarray(0, 32))
      const key = Result.getOrThrow(NetworkKey.fromBytes(raw))
      for (const encoding of NetworkKey.encodings) {
        assert.strictEqual(read(NetworkKey.encode(key, encoding)), Bytes.toHex(raw), encoding)
      }
    })
  )

  it.effect.prop("any bytes are a key or refused", [Schema.Uint8Array, Schema.Natural], ([some, choice]) =>
    Effect.sync(() => {
      const encoding = NetworkKey.encodings[choice % 3]
      for (const file of [some, Bytes.concat([Bytes.fromUtf8(`${head}\n/${encoding}/\n`), some])]) {
        const found = NetworkKey.decode(file)
        if (Result.isSuccess(found)) assert.strictEqual(found.success.bytes.length, 32)
        else assert.isAtLeast(found.failure.line, 1)
      }
    })
  )
})
