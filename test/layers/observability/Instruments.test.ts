import { assert, describe, it } from "@effect/vitest"
import { Context, Metric } from "effect"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type { Definition } from "../../../src/layers/observability/Catalogue.ts"
import { errorOf, kindOfActor, transportOf } from "../../../src/layers/observability/CountingMeter.ts"
import { Instruments } from "../../../src/layers/observability/Instruments.ts"
import * as Scopes from "../../../src/layers/observability/Scopes.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { DeadlineExceeded, TransportFailed } from "../../../src/services/Swarm.ts"
import { ConnectionRefused, NetError } from "../../../src/services/Net.ts"
import { NetworkFailure, TransportError } from "../../../src/services/Transport.ts"

const counter: Definition = { name: "c_total", type: "counter", help: "Counted", labels: ["a"], buckets: [] }
const gauge: Definition = { name: "g", type: "gauge", help: "Held", labels: ["a", "b"], buckets: [] }
const histogram: Definition = { name: "h_seconds", type: "histogram", help: "Took", labels: ["a"], buckets: [0.1, 1] }

const make = () => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  const instruments = new Instruments(context)
  return { instruments, text: () => PrometheusMetrics.formatUnsafe(context) }
}

describe("Instruments", () => {
  it("show in the registry what they hold", () => {
    const { instruments, text } = make()
    instruments.add(counter, 0, ["x"])
    instruments.add(counter, 2, ["y"])
    instruments.set(gauge, 5, ["1", '"\n'])
    instruments.observe(histogram, 0.05, ["z"])
    instruments.observe(histogram, 5, ["z"])
    assert.strictEqual(
      text(),
      [
        "# HELP c_total Counted",
        "# TYPE c_total counter",
        'c_total{a="x"} 0',
        'c_total{a="y"} 2',
        "# HELP g Held",
        "# TYPE g gauge",
        String.raw`g{a="1",b="\"\n"} 5`,
        "# HELP h_seconds Took",
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{a="z",le="0.1"} 1',
        'h_seconds_bucket{a="z",le="1"} 1',
        'h_seconds_bucket{a="z",le="+Inf"} 2',
        'h_seconds_sum{a="z"} 5.05',
        'h_seconds_count{a="z"} 2',
        ""
      ].join("\n")
    )
    instruments.removeAll()
    assert.strictEqual(text(), "")
  })

  it("replacing drops the series that are gone; raising never falls", () => {
    const { instruments, text } = make()
    instruments.replace(gauge, [
      [["1", "2"], 1],
      [["3", "4"], 1]
    ])
    instruments.replace(gauge, [[["3", "4"], 7]])
    assert.include(text(), 'g{a="3",b="4"} 7')
    assert.notInclude(text(), 'a="1"')
    instruments.raise(counter, 5, ["x"])
    instruments.raise(counter, 3, ["x"])
    assert.include(text(), 'c_total{a="x"} 5')
  })

  it("series of one metric have a bound", () => {
    const { instruments, text } = make()
    for (let i = 0; i < 2000; i++) instruments.add(counter, 1, [String(i)])
    const lines = text()
      .split("\n")
      .filter((line) => line.startsWith("c_total{"))
    assert.strictEqual(lines.length, 513)
    assert.include(lines, `c_total{a="other"} ${2000 - 512}`)
  })
})

describe("labels", () => {
  it("scopes by kind", () => {
    for (const [text, kind, name] of [
      ["system", "system", ""],
      ["peer 12D3KooWabc", "peer", "12D3KooWabc"],
      ["peer (ended)", "peer", ""],
      ["connection 3 of peer 12D3KooWabc", "connection", "3 of peer 12D3KooWabc"],
      ["protocol /a/1", "protocol", "/a/1"],
      ["protocol /a of peer/1", "protocol", "/a of peer/1"],
      ["protocol /a/1 of peer 12D3KooWabc", "protocol of peer", "/a/1 of peer 12D3KooWabc"],
      ["protocol of peer (ended)", "protocol of peer", ""],
      ["address 192.0.2.1", "address", "192.0.2.1"]
    ] as const) {
      assert.deepStrictEqual(Scopes.parse(text), { kind, name }, text)
    }
  })

  it("transports, actors and errors", () => {
    const transport = (text: string) => transportOf(Multiaddr.fromStringUnsafe(text))
    assert.strictEqual(transport("/ip4/1.2.3.4/tcp/1"), "tcp")
    assert.strictEqual(transport("/ip4/1.2.3.4/tcp/1/ws"), "ws")
    assert.strictEqual(transport("/ip6/::1/udp/1/quic-v1"), "quic-v1")
    assert.strictEqual(transport("/ip4/1.2.3.4/udp/1"), "other")
    assert.strictEqual(kindOfActor("swarm"), "swarm")
    assert.strictEqual(kindOfActor("swarm/connection 3"), "connection")
    assert.strictEqual(kindOfActor("swarm/listener /ip4/127.0.0.1/tcp/4001"), "listener")
    assert.strictEqual(kindOfActor("listener /ip4/127.0.0.1/tcp/4001"), "listener")
    assert.strictEqual(errorOf(new DeadlineExceeded({ stage: "dialing", afterMs: 1 })), "DeadlineExceeded")
    const refused = new NetError({ operation: "connect", endpoint: undefined, reason: new ConnectionRefused({}) })
    const cause = new TransportError({ address: "/x", reason: new NetworkFailure({ cause: refused }) })
    assert.strictEqual(errorOf(new TransportFailed({ cause })), "ConnectionRefused")
  })
})
