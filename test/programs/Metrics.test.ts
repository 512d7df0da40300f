/** A node as those see it who watch it: Prometheus, a load balancer, an OTLP collector, and `effect-libp2p limits`. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Catalogue from "../../src/layers/observability/Catalogue.ts"
import { events, isEvent, makeHome, run, start } from "./Program.ts"

const Started = Schema.Struct({ peer: Schema.String, addresses: Schema.Array(Schema.String), metrics: Schema.String })

const startNode = async (home: string, args: ReadonlyArray<string>) => {
  const node = start(home, ["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--metrics", "127.0.0.1:0", ...args])
  const [event] = events(await node.line(isEvent("listening")))
  const { addresses, metrics, peer } = Schema.decodeUnknownSync(Started)(event)
  return { node, peer, address: addresses[0] ?? "", origin: new URL(metrics).origin }
}

/** The families of a page of metrics: their type, and each series with its value. */
const parse = (page: string) => {
  const types = new Map<string, string>()
  const series = new Map<string, number>()
  for (const line of page.split("\n")) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
    if (name !== undefined && type !== undefined) {
      assert.isFalse(types.has(name), `${name} comes twice`)
      types.set(name, type)
    } else if (line !== "" && !line.startsWith("#")) {
      const [, key = "", value = ""] = /^(\w+(?:\{.*\})?) (\S+)$/.exec(line) ?? []
      assert.isNotEmpty(key, line)
      series.set(key, Number(value))
    }
  }
  return { types, series }
}

/** A collector that keeps what it is sent. */
const startCollector = async () => {
  const bodies: Array<{ readonly path: string; readonly body: string }> = []
  const server = Http.createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk
    })
    request.on("end", () => {
      bodies.push({ path: request.url ?? "", body })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const bound = server.address()
  const port = typeof bound === "object" && bound !== null ? bound.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    of: (path: string) => bodies.filter((sent) => sent.path === path).map(({ body }) => body),
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

/** One request on a connection of its own, which is gone when it is answered. */
const request = (url: string, method = "GET") =>
  new Promise<{ readonly status: number; readonly type: string | undefined; readonly body: string }>(
    (resolve, reject) => {
      const asked = Http.request(url, { agent: false, method }, (response) => {
        let body = ""
        response.setEncoding("utf8").on("data", (chunk: string) => {
          body += chunk
        })
        response.on("end", () => {
          const { headers, statusCode = 0 } = response
          const answer = { status: statusCode, type: headers["content-type"], body }
          if (asked.socket?.destroyed === false) asked.socket.once("close", () => resolve(answer))
          else resolve(answer)
        })
      })
      asked.once("error", reject).end()
    }
  )

const Metrics = Schema.fromJsonString(
  Schema.Struct({
    resourceMetrics: Schema.Array(
      Schema.Struct({
        resource: Schema.Struct({ attributes: Schema.Array(Schema.Struct({ key: Schema.String })) }),
        scopeMetrics: Schema.Array(Schema.Struct({ metrics: Schema.Array(Schema.Struct({ name: Schema.String })) }))
      })
    )
  })
)
const Traces = Schema.fromJsonString(
  Schema.Struct({
    resourceSpans: Schema.Array(
      Schema.Struct({
        scopeSpans: Schema.Array(
          Schema.Struct({
            spans: Schema.Array(
              Schema.Struct({
                name: Schema.String,
                traceId: Schema.String,
                spanId: Schema.String,
                parentSpanId: Schema.optional(Schema.NullOr(Schema.String))
              })
            )
          })
        )
      })
    )
  })
)

describe("effect-libp2p node --metrics", () => {
  it("serves its metrics, limits and health, and sends metrics and spans", async () => {
    const home = makeHome()
    const collector = await startCollector()
    const { address, node, origin, peer } = await startNode(home, ["--otlp", collector.url, "--connections", "10..20"])
    const ping = start(home, ["ping", "--interval", "10ms", "--json", address])
    await ping.line(isEvent("ping"))
    await node.line(isEvent("identified"))

    const scraped = await request(`${origin}/metrics`)
    assert.strictEqual(scraped.status, 200)
    assert.strictEqual(scraped.type, "text/plain; version=0.0.4; charset=utf-8")
    const { series, types } = parse(scraped.body)
    const catalogue = new Map(Catalogue.all.map(({ name, type }) => [name, type]))
    for (const [name, type] of types) assert.strictEqual(catalogue.get(name), type, `${name} is not in the catalogue`)
    // Labels name things that happen; without any, a metric is there from the start.
    for (const { labels, name, type } of Catalogue.all) {
      if (labels.length === 0 && type !== "histogram") assert.isTrue(types.has(name), `${name} is missing`)
    }
    const value = (key: string) => series.get(key) ?? Number.NaN
    const total = (name: string) =>
      [...series].reduce((sum, [key, found]) => (key.replace(/\{.*/, "") === name ? sum + found : sum), 0)
    assert.strictEqual(
      value('libp2p_swarm_connections{dir="inbound",transport="tcp",security="/noise",muxer="/yamux/1.0.0"}'),
      1
    )
    assert.strictEqual(value('libp2p_rcmgr_use{scope="system",resource="connections"}'), 1)
    assert.isAbove(value('libp2p_rcmgr_limit{scope="system",resource="connections"}'), 1)
    assert.strictEqual(value('libp2p_rcmgr_streams{dir="inbound",scope="protocol",protocol="/ipfs/ping/1.0.0"}'), 1)
    assert.strictEqual(
      value(
        'libp2p_swarm_connections_opened_total{dir="inbound",transport="tcp",security="/noise",muxer="/yamux/1.0.0",early_muxer="true",ip_version="ip4"}'
      ),
      1
    )
    assert.strictEqual(value('libp2p_swarm_streams_opened_total{dir="inbound",protocol="/ipfs/ping/1.0.0"}'), 1)
    assert.strictEqual(total("libp2p_swarm_handshake_latency_seconds_count"), 1)
    assert.strictEqual(value('libp2p_swarm_secure_seconds_count{security="/noise",dir="inbound",outcome="success"}'), 1)
    assert.strictEqual(value('libp2p_identify_seconds_count{outcome="success"}'), 1)
    assert.isAbove(value("libp2p_swarm_received_bytes_total"), 100)
    assert.isAbove(value("libp2p_swarm_sent_bytes_total"), 100)
    assert.strictEqual(value("libp2p_peerstore_peers"), 1)
    assert.strictEqual(value('libp2p_actors{actor="connection"}'), 1)
    assert.strictEqual(value('libp2p_connmgr_watermark{level="high"}'), 20)
    assert.isAbove(value("process_resident_memory_bytes"), 1e7)
    // Whoever connects, no label has its name.
    assert.deepStrictEqual(
      [...series.keys()].filter((key) => /12D3Koo|127\.0\.0\.1/.test(key) && !key.startsWith("libp2p_info")),
      []
    )

    const health = await request(`${origin}/health`)
    assert.strictEqual(health.status, 200)
    assert.deepInclude(JSON.parse(health.body), { status: "ok", peer, connections: 1 })
    assert.strictEqual((await request(`${origin}/`)).status, 404)
    assert.strictEqual((await request(`${origin}/metrics`, "POST")).status, 405)

    const { host, port } = new URL(origin)
    const [text, json, second] = await Promise.all([
      run(home, ["limits", "--of", origin]),
      run(home, ["limits", "--json", "--of", host]),
      run(home, ["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--metrics", host])
    ])
    assert.strictEqual(text.code, 0, text.stderr)
    assert.match(text.stdout, /^Limits of 12D3\w+ at 127\.0\.0\.1:\d+/)
    assert.match(text.stdout, /\nsystem +connections +1 +[\d,]+ +0% +1 +0\n/)
    assert.notInclude(text.stdout, "\u001b")
    assert.deepInclude(events(json.stdout)[0], { event: "usage", peer })
    // Another node on that port says so before it is up.
    assert.strictEqual(second.code, 1)
    assert.strictEqual(second.stdout, "")
    assert.include(second.stderr, `cannot serve metrics on ${host}: port ${port} is in use by another program`)

    // What is open does not hold up the stop.
    const mute = Net.connect(Number(port), "127.0.0.1")
    await new Promise((resolve) => mute.once("connect", resolve))
    mute.on("error", () => undefined)
    ping.child.kill("SIGINT")
    await node.line(isEvent("disconnected"))
    node.child.kill("SIGTERM")
    const ended = await node.finished
    assert.strictEqual(ended.code, 0)
    assert.strictEqual(ended.stderr, "")
    mute.destroy()

    const last = collector.of("/v1/metrics").at(-1) ?? ""
    const sent = Schema.decodeUnknownSync(Metrics)(last)
    const names = sent.resourceMetrics.flatMap(({ scopeMetrics }) =>
      scopeMetrics.flatMap(({ metrics }) => metrics.map(({ name }) => name))
    )
    assert.includeMembers(names, ["libp2p_swarm_connections_closed_total", "libp2p_rcmgr_limit", "libp2p_info"])
    assert.includeMembers(
      sent.resourceMetrics.flatMap(({ resource }) => resource.attributes.map(({ key }) => key)),
      ["service.name", "service.version", "service.instance.id"]
    )
    const spans = collector
      .of("/v1/traces")
      .flatMap((body) => Schema.decodeUnknownSync(Traces)(body).resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans.flatMap((of) => of.spans))
    assert.includeMembers(
      spans.map(({ name }) => name),
      ["libp2p.upgrade", "libp2p.secure", "libp2p.multiplex", "libp2p.identify", "libp2p.open_stream", "libp2p.handle"]
    )
    const upgrade = spans.find(({ name }) => name === "libp2p.upgrade")
    assert.strictEqual(spans.find(({ name }) => name === "libp2p.secure")?.parentSpanId, upgrade?.spanId)
    await collector.stop()
  }, 60_000)
})

describe("effect-libp2p limits", () => {
  it("tells the limits of this machine, with those of a file in their place", async () => {
    const home = makeHome()
    const path = Path.join(home, "limits.json")
    Fs.writeFileSync(path, JSON.stringify({ system: { connections: 1234 }, address: { pending: 3 } }))
    const text = await run(home, ["limits", "--limits", path])
    assert.strictEqual(text.code, 0, text.stderr)
    assert.match(text.stdout, /\nthe whole node +1,234 /)
    for (const line of text.stdout.split("\n")) assert.isAtMost(line.length, 120, line)
    const [limits] = events((await run(home, ["limits", "--json"], { env: { EFFECT_LIBP2P_LIMITS: path } })).stdout)
    assert.deepInclude(limits, { event: "limits" })
    assert.include(JSON.stringify(limits), '"connections":1234')
  })

  it("says what is wrong with a node that it is asked about", async () => {
    const home = makeHome()
    const nobody = await run(home, ["limits", "--of", "1"])
    assert.strictEqual(nobody.code, 1)
    assert.strictEqual(nobody.stdout, "")
    assert.match(nobody.stderr, /^effect-libp2p: [^\n]*--metrics 127\.0\.0\.1:1[^\n]*\n$/)
    const other = Http.createServer((_request, response) => void response.end("{}"))
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve))
    const bound = other.address()
    const port = typeof bound === "object" && bound !== null ? bound.port : 0
    const wrong = await run(home, ["limits", "--of", String(port)])
    await new Promise((resolve) => other.close(resolve))
    assert.include(wrong.stderr, "it is not the metrics of a node")
  })
})
