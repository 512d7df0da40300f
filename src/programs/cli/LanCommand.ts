/** `effect-libp2p lan`: who is on the local network, now or for as long as somebody looks. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Names from "../../layers/mdns/core/Names.ts"
import { LocalNetwork, type LocalPeer } from "../../services/LocalNetwork.ts"
import * as LocalNet from "./LocalNet.ts"
import { type Event, Output, StopCode } from "./Output.ts"
import * as Peer from "./Peer.ts"
import type { Settings } from "./Settings.ts"

export interface Flags {
  /** Shows it once, after this time. */
  readonly once: boolean
  readonly wait: Duration.Duration
}

const label = (service: string): string => service.replace(/\._udp\.local$/, "")

const ago = (ms: number): string => (ms < 1500 ? "now" : `${Math.round(ms / 1000)} s ago`)

const eventOf = (event: string, { addresses, lastMsAgo, peer, services }: LocalPeer): Event => ({
  event,
  peer: peer.toString(),
  addresses: addresses.map(String),
  services,
  lastSeenMs: Math.round(lastMsAgo)
})

const nobody =
  "Nobody is heard. Nodes of a private network are seen with --psk FILE only, and some\nwireless networks keep multicast from those who are on them."

/** In columns that fit a terminal; the addresses of a peer are beneath it. */
const draw = (peers: ReadonlyArray<LocalPeer>, links: ReadonlyArray<string>): string => {
  const rows = peers
    .toSorted((a, b) => b.firstMsAgo - a.firstMsAgo)
    .map(({ addresses, lastMsAgo, peer, services }) => ({
      cells: [peer.toString(), ago(lastMsAgo), services.map(label).join(", ")],
      addresses
    }))
  const header = ["peer", "heard", "service"]
  const widths = [0, 1].map((column) =>
    Math.max(...[header, ...rows.map(({ cells }) => cells)].map((row) => row[column]?.length ?? 0))
  )
  const line = (cells: ReadonlyArray<string>) =>
    cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")
  const count = `${peers.length} peer${peers.length === 1 ? "" : "s"}`
  const on = links.length === 0 ? "waiting for a network to listen on" : `heard on ${links.join(", ")}`
  const table = [
    line(header),
    ...rows.flatMap(({ addresses, cells }) => [line(cells), ...addresses.map((address) => `  ${address.toString()}`)])
  ]
  return [`${count}, ${on}`, "", ...(peers.length === 0 ? [nobody] : table)].join("\n")
}

const now = () => new Date().toTimeString().slice(0, 8)

const show = (settings: Settings, { once, wait }: Flags) =>
  Effect.gen(function* () {
    const network = yield* LocalNetwork
    const output = yield* Output
    const fingerprint = (yield* Peer.networkKey(settings))?.fingerprint
    const wanted =
      settings.service === undefined && fingerprint === undefined
        ? undefined
        : Names.serviceOf(settings.service, fingerprint)
    const isWanted = ({ services }: LocalPeer) => wanted === undefined || services.includes(wanted)
    const present = Effect.map(network.peers, (peers) => peers.filter(isWanted))
    const links = Effect.map(network.status, (status) => status.links)

    if (once) {
      yield* Effect.sleep(wait)
      const peers = yield* present
      yield* Effect.forEach(peers, (peer) => output.event(eventOf("peer", peer)), { discard: true })
      yield* output.event({ event: "summary", peers: peers.length, links: yield* links }, draw(peers, yield* links))
      return
    }
    yield* Ref.set(yield* StopCode, 0)
    if (!output.json && process.stdout.isTTY) {
      let height = 0
      const redraw = Effect.gen(function* () {
        // What does not fit would be wrapped or scrolled, and could not be written over.
        const { columns, rows } = process.stdout
        const lines = `${draw(yield* present, yield* links)}\n\nCtrl-C ends it.`
          .split("\n")
          .slice(0, Math.max(1, rows - 1))
          .map((line) => line.slice(0, columns))
        const up = height === 0 ? "" : `\u001B[${height}A\u001B[J`
        height = lines.length
        yield* Effect.sync(() => void process.stdout.write(`${up}${lines.join("\n")}\n`))
      })
      return yield* Effect.forever(Effect.andThen(redraw, Effect.sleep("1 second")))
    }
    yield* output.event({ event: "listening", service: wanted ?? null })
    return yield* Stream.runForEach(network.changes, ({ _tag, peer }) =>
      isWanted(peer)
        ? output.event(
            eventOf(_tag.toLowerCase(), peer),
            `${now()}  ${_tag.toLowerCase().padEnd(8)}  ${peer.peer.toString()}  ${peer.services.map(label).join(", ")}  ${peer.addresses.join(" ")}`
          )
        : Effect.void
    )
  })

export const run = (settings: Settings, flags: Flags) =>
  Effect.scoped(
    Effect.provide(
      show(settings, flags),
      LocalNet.layerWatch(settings).pipe(Layer.provideMerge(Peer.layerClient(settings)))
    )
  )
