import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Varint from "../../../../src/data/Varint.ts"
import {
  Dialer,
  header,
  Listener,
  maxMessageSize,
  maxProposals,
  type Step
} from "../../../../src/layers/swarm/negotiation/Multistream.ts"

const line = (text: string) => {
  const bytes = Bytes.fromUtf8(`${text}\n`)
  return Bytes.concat([Varint.encode(bytes.length), bytes])
}
const listener = (...protocols: ReadonlyArray<string>) =>
  new Listener(
    (protocol) => protocols.includes(protocol),
    () => protocols
  )

const detail = (step: Step) =>
  step._tag === "Failed" && step.failure._tag === "Malformed" ? step.failure.detail : step._tag

/** Runs both ends to their verdicts, handing bytes over `size` at a time. */
const converse = (dialer: Dialer, answering: Listener, size: number) => {
  let fromDialer: Step = { _tag: "More" }
  let fromListener: Step = { _tag: "More" }
  let rounds = 0
  for (; rounds < 100; rounds++) {
    const toListener = dialer.takeOutput()
    for (let i = 0; i < toListener.length && fromListener._tag === "More"; i += size)
      fromListener = answering.receive(toListener.slice(i, i + size))
    const toDialer = answering.takeOutput()
    for (let i = 0; i < toDialer.length && fromDialer._tag === "More"; i += size)
      fromDialer = dialer.receive(toDialer.slice(i, i + size))
    if (fromDialer._tag !== "More") break
  }
  return { fromDialer, fromListener, rounds: rounds + 1 }
}

describe("multistream-select", () => {
  it("the bytes of the specification: header and proposal in one go", () => {
    assert.strictEqual(
      Bytes.toHex(new Dialer(["/noise"]).takeOutput()),
      `13${Bytes.toHex(Bytes.fromUtf8("/multistream/1.0.0\n"))}07${Bytes.toHex(Bytes.fromUtf8("/noise\n"))}`
    )
  })

  it("agrees on the only choice in one round trip, whatever the segmentation", () => {
    for (const size of [1, 2, 3, 7, 1000]) {
      const { fromDialer, fromListener, rounds } = converse(new Dialer(["/noise"]), listener("/tls", "/noise"), size)
      assert.strictEqual(fromDialer._tag === "Selected" && fromDialer.protocol, "/noise")
      assert.strictEqual(fromListener._tag === "Selected" && fromListener.protocol, "/noise")
      assert.strictEqual(rounds, 1)
    }
  })

  it("goes down the list of proposals on `na`", () => {
    const { fromDialer, rounds } = converse(new Dialer(["/a", "/b", "/c"]), listener("/c"), 5)
    assert.strictEqual(fromDialer._tag === "Selected" && fromDialer.protocol, "/c")
    assert.strictEqual(rounds, 3)
  })

  it("fails when nothing is shared", () => {
    const { fromDialer } = converse(new Dialer(["/a", "/b"]), listener("/c"), 100)
    assert.deepStrictEqual(fromDialer, { _tag: "Failed", failure: { _tag: "NotSupported" } })
  })

  it("answers `ls` with the protocols inside one message", () => {
    const answering = listener("/a", "/b")
    answering.receive(Bytes.concat([line(header), line("ls")]))
    const inner = Bytes.concat([line("/a"), line("/b"), Bytes.fromUtf8("\n")])
    assert.strictEqual(
      Bytes.toHex(answering.takeOutput()),
      Bytes.toHex(Bytes.concat([line(header), Varint.encode(inner.length), inner]))
    )
  })

  it("answers the header of a dialer that waits for it", () => {
    const answering = listener("/a")
    answering.receive(line(header))
    assert.strictEqual(Bytes.toHex(answering.takeOutput()), Bytes.toHex(line(header)))
  })

  it("hands over what follows the negotiation", () => {
    const early = Bytes.fromUtf8("early data")
    const step = listener("/a").receive(Bytes.concat([line(header), line("/a"), early]))
    assert.strictEqual(step._tag === "Selected" && Bytes.toUtf8(step.rest), "early data")
    const dialer = new Dialer(["/a"])
    const answered = dialer.receive(Bytes.concat([line(header), line("/a"), early]))
    assert.strictEqual(answered._tag === "Selected" && Bytes.toUtf8(answered.rest), "early data")
  })

  it("refuses a length of 4 GiB without waiting for it", () => {
    const answering = listener("/a")
    answering.receive(line(header))
    const step = answering.receive(Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x0f]))
    assert.include(detail(step), `over the limit of ${maxMessageSize}`)
  })

  it("refuses a varint that never ends, an empty message, a missing line feed and a wrong header", () => {
    assert.include(detail(listener("/a").receive(new Uint8Array(12).fill(0xff))), "too long")
    const after = (...bytes: ReadonlyArray<number>) =>
      detail(listener("/a").receive(Bytes.concat([line(header), Uint8Array.from(bytes)])))
    assert.include(after(0), "an empty message")
    assert.include(after(2, 0x61, 0x62), "without a line feed")
    assert.include(
      detail(listener("/a").receive(Bytes.fromUtf8("GET / HTTP/1.1"))),
      "no /multistream/1.0.0 at its beginning"
    )
    assert.include(detail(listener("/a").receive(line("/multistream/2.0.0"))), "where /multistream/1.0.0 was due")
  })

  it("refuses an answer that nobody proposed", () => {
    assert.include(detail(new Dialer(["/a"]).receive(Bytes.concat([line(header), line("/b")]))), "in answer to /a")
  })

  it("gives up on a dialer that proposes without end, with bounded output", () => {
    const answering = listener("/a")
    answering.receive(line(header))
    let step: Step = { _tag: "More" }
    for (let i = 0; i < maxProposals + 1; i++) step = answering.receive(line(`/p${i}`))
    assert.include(detail(step), `more than ${maxProposals} proposals`)
  })

  it.effect.prop("random bytes are never an exception", [Schema.Uint8Array], ([bytes]) =>
    Effect.sync(() => {
      assert.include(["More", "Failed", "Selected"], listener("/a").receive(bytes)._tag)
      assert.include(["More", "Failed", "Selected"], new Dialer(["/a", "/b"]).receive(bytes)._tag)
    })
  )
})
