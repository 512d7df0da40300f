/**
 * Faults: what goes wrong in a simulation, and when. Each is a plain call, for
 * tests that want one; {@link draw} makes a schedule of them from a seed, and
 * {@link shrink} finds the few of a schedule that a failure needs.
 */
import * as Effect from "effect/Effect"
import type { Prng } from "./Prng.ts"
import type { DiskAfterCrash, SimNode } from "./SimNode.ts"
import type { SimNetwork } from "./net/SimNetwork.ts"
import type { World } from "./World.ts"

/** The faults that can be drawn. Each lasts for a while and is then undone. */
export const kinds = [
  "partition",
  "partitionOneWay",
  "isolate",
  "clog",
  "hold",
  "corrupt",
  "reset",
  "slowReader",
  "crash",
  "pause",
  "clockJump",
  "clockDrift",
  "diskFull",
  "dnsFailure",
  "addressChange"
] as const
export type FaultKind = (typeof kinds)[number]

/** One fault of a schedule, as data. Nodes are numbers. */
export interface ScheduledFault {
  /** Milliseconds after the schedule starts. */
  readonly at: number
  readonly kind: FaultKind
  /** Whom it strikes; what the others mean depends on the kind. */
  readonly nodes: ReadonlyArray<number>
  /** Milliseconds until it is undone. */
  readonly lasts: number
  /** How bad, from 0 to 1. */
  readonly strength: number
  readonly disk: DiskAfterCrash
}

/** How often each kind is drawn, relative to the others; a kind that is left out is not drawn. */
export type Weights = { readonly [kind in FaultKind]?: number }

/** Everything, the destructive ones less often. */
export const everything: Weights = {
  partition: 4,
  partitionOneWay: 3,
  isolate: 4,
  clog: 6,
  hold: 4,
  corrupt: 2,
  reset: 6,
  slowReader: 3,
  crash: 5,
  pause: 4,
  clockJump: 2,
  clockDrift: 2,
  diskFull: 1,
  dnsFailure: 1,
  addressChange: 2
}

export interface DrawOptions {
  readonly weights: Weights
  readonly nodes: number
  /** Of the whole schedule; every fault is undone by its end. */
  readonly durationMs: number
  /** Mean time between two faults. */
  readonly everyMs: number
  /** Mean duration of a fault. */
  readonly lastsMs: number
}

/** Exponentially distributed with this mean. */
const exponential = (random: Prng, mean: number): number => -Math.log(1 - random.nextDoubleUnsafe()) * mean

/** A schedule that follows from the generator. */
export const draw = (random: Prng, options: DrawOptions): ReadonlyArray<ScheduledFault> => {
  const weighted = kinds.map((kind) => [kind, options.weights[kind] ?? 0] as const).filter(([, weight]) => weight > 0)
  const total = weighted.reduce((sum, [, weight]) => sum + weight, 0)
  const faults: Array<ScheduledFault> = []
  if (total === 0 || options.nodes === 0) return faults
  for (
    let at = exponential(random, options.everyMs);
    at < options.durationMs;
    at += exponential(random, options.everyMs)
  ) {
    let left = random.nextDoubleUnsafe() * total
    const kind = weighted.find(([, weight]) => (left -= weight) < 0)?.[0] ?? weighted[0]?.[0] ?? "reset"
    const some = 1 + random.below(Math.max(1, options.nodes >> 1))
    const order = Array.from({ length: options.nodes }, (_, index) => ({ index, key: random.nextDoubleUnsafe() }))
    faults.push({
      at: Math.round(at),
      kind,
      nodes: order
        .toSorted((a, b) => a.key - b.key)
        .slice(0, Math.max(2, some))
        .map(({ index }) => index),
      lasts: Math.round(Math.min(exponential(random, options.lastsMs), options.durationMs - at)),
      strength: random.nextDoubleUnsafe(),
      disk: random.pick(["kept", "lost", "torn"])
    })
  }
  return faults
}

/** In words, for the trace and for people. */
export const describe = ({ disk, kind, lasts, nodes, strength }: ScheduledFault): string => {
  const names = nodes.map((index) => `n${index}`)
  const [first, second] = names
  const whom =
    kind === "partition" || kind === "partitionOneWay"
      ? `{${names.join(" ")}} from the rest`
      : kind === "clog" || kind === "hold" || kind === "corrupt" || kind === "reset"
        ? `${first} ${second}`
        : first
  const how =
    kind === "crash"
      ? `, disk ${disk}`
      : kind === "clog" || kind === "corrupt" || kind === "slowReader" || kind.startsWith("clock")
        ? `, strength ${strength.toFixed(2)}`
        : ""
  return `${whom}${how}, for ${lasts} ms`
}

/** The faults of a running simulation. All but `restart` take effect at once. */
export class Faults<R> {
  private readonly world: World
  private readonly network: SimNetwork
  private readonly nodes: ReadonlyArray<SimNode<R>>
  /** Faults of a schedule that are under way. */
  alive = 0
  /** Faults applied so far, by kind. */
  readonly applied = new Map<FaultKind, number>()

  constructor(world: World, network: SimNetwork, nodes: ReadonlyArray<SimNode<R>>) {
    this.world = world
    this.network = network
    this.nodes = nodes
  }

  private note(kind: string, detail: string): void {
    this.world.note("", `fault.${kind}`, detail)
  }

  private readonly fault = (kind: string, detail: string, apply: () => void): Effect.Effect<void> =>
    Effect.sync(() => {
      this.note(kind, detail)
      apply()
    })

  /** Cuts the two groups from each other; with `oneWay`, only what `left` sends is lost. */
  readonly partition = (
    left: ReadonlyArray<SimNode<R>>,
    right: ReadonlyArray<SimNode<R>>,
    options?: { readonly oneWay?: boolean | undefined }
  ) =>
    this.fault("partition", `${names(left)} | ${names(right)}${options?.oneWay === true ? " one way" : ""}`, () =>
      this.network.partition(hosts(left), hosts(right), { oneWay: options?.oneWay === true })
    )
  /** Cuts a node from all others. */
  readonly isolate = (node: SimNode<R>) => this.fault("isolate", node.name, () => this.network.isolate(node.host))
  /** Undoes all that was done to the network. */
  readonly heal = Effect.suspend(() => this.fault("heal", "", () => this.network.heal()))
  /** Slows what one node sends to another by so much. */
  readonly clog = (from: SimNode<R>, to: SimNode<R>, extraMs: number) =>
    this.fault("clog", `${from.name} -> ${to.name} by ${extraMs} ms`, () =>
      this.network.clog(from.host, to.host, extraMs)
    )
  /** Keeps what one node sends to another, until it is released. */
  readonly hold = (from: SimNode<R>, to: SimNode<R>) =>
    this.fault("hold", `${from.name} -> ${to.name}`, () => this.network.hold(from.host, to.host))
  readonly release = (from: SimNode<R>, to: SimNode<R>) =>
    this.fault("release", `${from.name} -> ${to.name}`, () => this.network.release(from.host, to.host))
  /** Flips a bit of a packet with this probability. */
  readonly corrupt = (from: SimNode<R>, to: SimNode<R>, probability: number) =>
    this.fault("corrupt", `${from.name} -> ${to.name} with ${probability}`, () =>
      this.network.corrupt(from.host, to.host, probability)
    )
  /** Resets the connections of a node, or those between two. */
  readonly reset = (a: SimNode<R>, b?: SimNode<R>) =>
    this.fault("reset", b === undefined ? a.name : `${a.name} ${b.name}`, () =>
      this.network.resetConnections(a.host, b?.host)
    )
  /** Lets a node take data from the network only so fast. */
  readonly slowReader = (node: SimNode<R>, bytesPerSecond: number) =>
    this.fault("slowReader", `${node.name} at ${bytesPerSecond} B/s`, () =>
      this.network.slowReads(node.host, bytesPerSecond)
    )
  /** Ends a node without a word; its disk keeps what the mode says. */
  readonly crash = (node: SimNode<R>, disk: DiskAfterCrash = "kept") =>
    this.fault("crash", `${node.name}, disk ${disk}`, () => node.crash(disk))
  /** Starts a node that crashed or was stopped. */
  readonly restart = (node: SimNode<R>) =>
    Effect.andThen(
      this.fault("restart", node.name, () => {}),
      node.start
    )
  /** Stops a node's process; its machine still holds its connections. */
  readonly pause = (node: SimNode<R>) => this.fault("pause", node.name, () => node.place.scheduler.pause())
  readonly resume = (node: SimNode<R>) => this.fault("resume", node.name, () => node.place.scheduler.resume())
  /** Sets a node's wall clock wrong. */
  readonly clockJump = (node: SimNode<R>, byMs: number) =>
    this.fault("clockJump", `${node.name} by ${byMs} ms`, () => node.place.clock.jump(byMs))
  /** Makes a node's clocks run at this rate. */
  readonly clockDrift = (node: SimNode<R>, rate: number) =>
    this.fault("clockDrift", `${node.name} at ${rate}`, () => node.place.clock.drift(rate))
  /** Lets every write to a node's disk fail, or not any more. */
  readonly diskFull = (node: SimNode<R>, full: boolean) =>
    this.fault("diskFull", `${node.name} ${full}`, () => {
      node.disk.full = full
    })
  /** Lets names not be found by a node, or by all. */
  readonly dnsFailure = (node: SimNode<R> | undefined, on: boolean) =>
    this.fault("dnsFailure", `${node?.name ?? "all"} ${on}`, () => this.network.failDns(node?.host, on))
  /** Gives a node's machine other addresses; connections on those that go are cut. */
  readonly addressChange = (node: SimNode<R>, addresses: ReadonlyArray<string>) =>
    this.fault("addressChange", `${node.name} to ${addresses.join(" ")}`, () => node.host.setAddresses(addresses))

  /** Undoes everything that is wrong now: heals, resumes, restarts, empties disks. Clocks stay as they are. */
  readonly mend: Effect.Effect<void, unknown> = Effect.suspend(() => {
    this.note("mend", "")
    this.network.heal()
    this.network.failDns(undefined, false)
    for (const node of this.nodes) {
      node.place.scheduler.resume()
      node.place.clock.drift(1)
      node.disk.full = false
      this.network.failDns(node.host, false)
    }
    return Effect.forEach(this.nodes, (node) => node.start, { discard: true })
  })

  /** Applies a schedule, each fault for its time. Interrupting it leaves what is wrong as it is: see `mend`. */
  readonly run = (schedule: ReadonlyArray<ScheduledFault>): Effect.Effect<void> =>
    Effect.forEach(schedule, (fault) => Effect.andThen(Effect.sleep(fault.at), this.strike(fault)), {
      concurrency: "unbounded",
      discard: true
    })

  /** One fault from its beginning to its end. */
  private readonly strike = (scheduled: ScheduledFault): Effect.Effect<void> => {
    const [a, b] = scheduled.nodes.flatMap((index) => this.nodes[index] ?? [])
    if (a === undefined || b === undefined) return Effect.void
    const { kind, lasts, nodes, strength } = scheduled
    const group = nodes.flatMap((index) => this.nodes[index] ?? [])
    const rest = this.nodes.filter((node) => !group.includes(node))
    const during = (begin: Effect.Effect<void>, end: Effect.Effect<void, unknown>) =>
      begin.pipe(Effect.andThen(Effect.sleep(lasts)), Effect.andThen(Effect.ignore(end)))
    const effect = (): Effect.Effect<void> => {
      switch (kind) {
        case "partition":
          return during(this.partition(group, rest), this.heal)
        case "partitionOneWay":
          return during(this.partition(group, rest, { oneWay: true }), this.heal)
        case "isolate":
          return during(this.isolate(a), this.heal)
        case "clog":
          return during(this.clog(a, b, Math.round(strength * 5000)), this.clog(a, b, 0))
        case "hold":
          return during(this.hold(a, b), this.release(a, b))
        case "corrupt":
          return during(this.corrupt(a, b, strength * 0.05), this.corrupt(a, b, 0))
        case "reset":
          return this.reset(a, strength < 0.5 ? b : undefined)
        case "slowReader":
          return during(
            this.slowReader(a, Math.round(500 + strength * 50_000)),
            this.slowReader(a, Number.POSITIVE_INFINITY)
          )
        case "crash":
          return during(this.crash(a, scheduled.disk), this.restart(a))
        case "pause":
          return during(this.pause(a), this.resume(a))
        case "clockJump":
          return this.clockJump(a, Math.round((strength - 0.5) * 7_200_000))
        case "clockDrift":
          return during(this.clockDrift(a, 0.9 + strength * 0.2), this.clockDrift(a, 1))
        case "diskFull":
          return during(this.diskFull(a, true), this.diskFull(a, false))
        case "dnsFailure":
          return during(this.dnsFailure(a, true), this.dnsFailure(a, false))
        case "addressChange": {
          const before = a.host.addresses
          const moved = before.map((address) =>
            address.replace(/\.\d+$/, (end) => `.${((Number(end.slice(1)) + 100) % 250) + 1}`)
          )
          return during(this.addressChange(a, moved), this.addressChange(a, before))
        }
      }
    }
    return Effect.suspend(() => {
      this.alive++
      this.applied.set(kind, (this.applied.get(kind) ?? 0) + 1)
      this.note("scheduled", `${kind}: ${describe(scheduled)}`)
      return effect()
    }).pipe(Effect.ensuring(Effect.sync(() => this.alive--)))
  }
}

const names = (nodes: ReadonlyArray<SimNode<never>>): string => nodes.map((node) => node.name).join(" ")
const hosts = <R>(nodes: ReadonlyArray<SimNode<R>>) => nodes.map((node) => node.host)

/**
 * The fewest faults found with which a run still fails: halves, then quarters,
 * and so on, are left out for as long as it goes on failing. `fails` runs the
 * simulation with a schedule; at most `budget` runs are made.
 */
export const shrink = async (
  schedule: ReadonlyArray<ScheduledFault>,
  fails: (schedule: ReadonlyArray<ScheduledFault>) => boolean | Promise<boolean>,
  budget = 100
): Promise<ReadonlyArray<ScheduledFault>> => {
  let kept = schedule
  let runs = 0
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < kept.length;) {
      if (runs++ >= budget) return kept
      const without = [...kept.slice(0, start), ...kept.slice(start + size)]
      if (await fails(without)) kept = without
      else start += size
    }
  }
  return kept
}
