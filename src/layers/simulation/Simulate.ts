/**
 * Whole networks in virtual time.
 *
 * ```
 * it("a cut network heals", simulate({ seed: 7, nodes: 5 }, ({ faults, nodes }) => Effect.gen(function*() {
 *   const [left, ...right] = nodes
 *   yield* faults.partition([left], right)
 *   yield* Effect.sleep("10 minutes")              // virtual: no time at all
 *   yield* faults.heal
 * })))
 * ```
 *
 * A run is synchronous and follows from its seed: the same seed gives the same
 * trace, to the byte. docs/simulation.md teaches it from the beginning.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import { drive, leftBehind, type Progress, teardownMs } from "./Drive.ts"
import { Faults } from "./Faults.ts"
import { SimNetwork } from "./net/SimNetwork.ts"
import type { LinkOptions } from "./net/Link.ts"
import { environment, type NodeIdentity, wholeNode, type WholeNode } from "./Nodes.ts"
import { SimDisk } from "./SimDisk.ts"
import { type NodeInfo, type NodeServices, SimNode } from "./SimNode.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { TraceEvent, TraceOptions } from "./Trace.ts"
import { type Stage, World } from "./World.ts"

export type { Progress } from "./Drive.ts"

export interface SimulateOptions<R, E> {
  /** Everything random follows from it. Default 1. */
  readonly seed?: number | string | undefined
  readonly nodes: number
  /** What each node is. Default: TCP, Noise, Yamux, identify, ping and perf, listening on TCP port 4001. */
  readonly layer?: ((node: NodeInfo) => Layer.Layer<R, E, NodeServices>) | undefined
  /** Every link, unless `arrange` says otherwise. Default: 20 ms, no loss. */
  readonly link?: LinkOptions | undefined
  /** Names that DNS knows. */
  readonly names?:
    | Readonly<Record<string, { readonly addresses?: Array<string>; readonly txt?: Array<string> }>>
    | undefined
  /** Arranges links, NATs and the like before the nodes start. */
  readonly arrange?: ((network: SimNetwork, nodes: ReadonlyArray<SimNode<R>>) => void) | undefined
  /** Explore interleavings; see `World`. Default false. */
  readonly shuffle?: boolean | undefined
  /** Virtual time after which the run has failed. Default 1 day. */
  readonly until?: Duration.Input | undefined
  /** Names that `sometimes` must have reached by the end. */
  readonly mustReach?: ReadonlyArray<string> | undefined
  readonly trace?: TraceOptions | undefined
  /** Signs and encrypts at no cost, and to no avail: for many nodes. Default false. */
  readonly cheapCrypto?: boolean | undefined
  /** An identity is drawn again until it suits the node of this index. Default: the first does. */
  readonly suits?: ((index: number, peerId: PeerId) => boolean) | undefined
}

/** A running simulation, as its program sees it. */
export interface Simulation<R> {
  readonly nodes: ReadonlyArray<SimNode<R>> & { readonly 0: SimNode<R> }
  readonly network: SimNetwork
  readonly faults: Faults<R>
  readonly world: World
  /** Notes something in the trace. */
  readonly note: (text: string) => Effect.Effect<void>
  /**
   * Must hold after every event, from now on, or every so many milliseconds of
   * virtual time. Gives false or a text that says what is wrong.
   */
  readonly always: (name: string, holds: () => boolean | string, everyMs?: number) => Effect.Effect<void>
  /** Says that this was reached, for the report; with a condition, only if it is true. */
  readonly sometimes: (name: string, reached?: boolean) => Effect.Effect<void>
  /**
   * The liveness phase: mends every fault, then `effect` must succeed within
   * this virtual time. Failures of it are tried again until then.
   */
  readonly eventually: <A, E>(
    name: string,
    effect: Effect.Effect<A, E>,
    within: Duration.Input
  ) => Effect.Effect<A, NotLive>
}

/** The liveness phase did not converge. */
export class NotLive extends Schema.TaggedError<NotLive>()("NotLive", { name: Schema.String, detail: Schema.String }) {
  override get message(): string {
    return `${this.name}: ${this.detail}`
  }
}

/** What came of a run. */
export interface SimulationReport {
  readonly ok: boolean
  /** What is wrong, in words; undefined if `ok`. */
  readonly problem: string | undefined
  readonly seed: number | string
  readonly nodes: number
  /** Of the whole trace. */
  readonly hash: string
  readonly virtualMs: number
  readonly events: number
  /** The latest events. */
  readonly trace: ReadonlyArray<TraceEvent>
  /** How often each `sometimes` was reached. */
  readonly reached: ReadonlyMap<string, number>
  readonly neverReached: ReadonlyArray<string>
  /** Faults of schedules that were applied, by kind. */
  readonly faults: ReadonlyMap<string, number>
}

/** Nodes that are made between two reports of progress. */
const nodesAtOnce = 64
const everyHalfSecond = Schedule.spaced("500 millis")

/** The IP address of a node: 10.x.y.1, a network of its own for each. */
const addressOf = (index: number): string => `10.${(index >> 8) & 255}.${index & 255}.1`

type Program<R, A, E> = (simulation: Simulation<R>) => Effect.Effect<A, E, SecureRandom.SecureRandom>

/**
 * Runs a simulation; yields its progress now and then, and returns what came of
 * it. For programs that show progress; tests use {@link simulate}.
 */
export function start<A, E>(
  options: SimulateOptions<WholeNode, unknown> & { readonly layer?: undefined },
  program: Program<WholeNode, A, E>
): Generator<Progress, SimulationReport>
export function start<R, E2, A, E>(
  options: SimulateOptions<R, E2> & { readonly layer: (node: NodeInfo) => Layer.Layer<R, E2, NodeServices> },
  program: Program<R, A, E>
): Generator<Progress, SimulationReport>
export function start(
  options: SimulateOptions<WholeNode, unknown>,
  program: Program<WholeNode, unknown, unknown>
): Generator<Progress, SimulationReport> {
  return startWith(options, options.layer ?? wholeNode, program)
}

function* startWith<R>(
  options: Omit<SimulateOptions<R, unknown>, "layer">,
  layer: (node: NodeInfo) => Layer.Layer<R, unknown, NodeServices>,
  program: Program<R, unknown, unknown>
): Generator<Progress, SimulationReport> {
  const seed = options.seed ?? 1
  const world = new World({ seed, shuffle: options.shuffle, trace: options.trace })
  const network = new SimNetwork({
    timeline: world.timeline,
    random: world.random.fork("network"),
    note: world.note,
    link: options.link ?? { latencyMs: 20 },
    ...(options.names === undefined ? {} : { names: options.names })
  })
  const atStage = (what: string, done: number): Stage => (world.stage = { what, done, of: options.nodes })
  const made: Array<SimNode<R>> = []
  for (let index = 0; index < options.nodes; index++) {
    const node = { index, name: `n${index}`, address: addressOf(index) }
    made.push(makeNode({ world, network, cheapCrypto: options.cheapCrypto, suits: options.suits }, node, layer))
    if (index % nodesAtOnce === 0) {
      yield { virtualMs: 0, events: 0, faultsAlive: 0, stage: atStage("making the nodes", index) }
    }
  }
  const [first, ...others] = made
  if (first === undefined) throw new RangeError("a simulation has at least one node")
  const nodes: Simulation<R>["nodes"] = [first, ...others]
  const faults = new Faults(world, network, nodes)
  const reached = new Map<string, number>((options.mustReach ?? []).map((name) => [name, 0]))
  const main = world.place("")
  options.arrange?.(network, nodes)

  const simulation = makeSimulation(world, network, nodes, faults, reached)
  const each = (what: string, act: (node: SimNode<R>) => Effect.Effect<void, unknown>) => {
    let done = 0
    const next = Effect.sync(() => void atStage(what, ++done))
    atStage(what, 0)
    // Each in a turn of its own: to start ten thousand in one takes minutes.
    const one = (node: SimNode<R>) => Effect.yieldNow.pipe(Effect.andThen(act(node)), Effect.andThen(next))
    return Effect.forEach(nodes, one, { discard: true, concurrency: "unbounded" })
  }
  const running = Effect.sync(() => {
    world.stage = { what: "running" }
  })
  const whole = Effect.suspend(() => each("starting the nodes", (node) => node.start)).pipe(
    Effect.andThen(running),
    Effect.andThen(program(simulation))
  )
  const untilMs = Duration.toMillis(options.until ?? "1 day")
  const progress = (): Progress => ({
    virtualMs: world.timeline.now,
    events: world.events,
    faultsAlive: faults.alive,
    stage: world.stage
  })

  let problem = yield* drive(world, main, whole, untilMs, progress)
  if (problem === undefined) {
    world.note("", "sim.teardown", "")
    world.checks.clear()
    const mended = Effect.sync(() => {
      network.heal()
      for (const node of nodes) node.place.scheduler.resume()
    })
    const stopped = Effect.suspend(() => each("stopping the nodes", (node) => node.stop))
    problem = yield* drive(world, main, Effect.andThen(mended, stopped), world.timeline.now + teardownMs, progress)
    problem = problem === undefined ? yield* leftBehind(world, progress) : `the nodes could not be stopped: ${problem}`
  }
  const neverReached = [...reached].filter(([, times]) => times === 0).map(([name]) => name)
  if (problem === undefined && neverReached.length > 0) problem = `never reached: ${neverReached.join(", ")}`
  return {
    ok: problem === undefined,
    problem,
    seed,
    nodes: options.nodes,
    hash: world.trace.hash(),
    virtualMs: world.timeline.now,
    events: world.events,
    trace: world.trace.latest,
    reached,
    neverReached,
    faults: faults.applied
  }
}

export interface MakeNodeOptions {
  readonly network: SimNetwork
  readonly world: World
  readonly cheapCrypto?: boolean | undefined
  readonly suits?: ((index: number, peerId: PeerId) => boolean) | undefined
}

/** A node of a world: its host, its disk and its identity follow from its name. */
export const makeNode = <R>(
  { cheapCrypto, network, suits, world }: MakeNodeOptions,
  { address, index, name }: { readonly index: number; readonly name: string; readonly address: string },
  layer: (node: NodeInfo) => Layer.Layer<R, unknown, NodeServices>
): SimNode<R> => {
  const place = world.place(name)
  const chance = world.random.fork(`identity of ${name}`)
  let identity: NodeIdentity = environment(chance.bytes(32), cheapCrypto)
  while (suits?.(index, identity.peerId) === false) identity = environment(chance.bytes(32), cheapCrypto)
  const hosts = [address]
  const info: NodeInfo = { index, name, peerId: identity.peerId, hosts }
  return new SimNode({
    world,
    info,
    place,
    host: network.addHost({ name, addresses: hosts, schedule: place.scheduler.schedule }),
    disk: new SimDisk({
      random: world.random.fork(`disk of ${name}`),
      note: (kind, detail) => world.note(name, kind, detail)
    }),
    layer: layer(info),
    environment: identity.layer
  })
}

const makeSimulation = <R>(
  world: World,
  network: SimNetwork,
  nodes: Simulation<R>["nodes"],
  faults: Faults<R>,
  reached: Map<string, number>
): Simulation<R> => ({
  nodes,
  network,
  faults,
  world,
  note: (text) => Effect.sync(() => world.note("", "app.note", text)),
  always: (name, holds, everyMs = 0) =>
    Effect.sync(() => {
      let due = 0
      world.checks.add(() => {
        if (world.timeline.now < due) return undefined
        due = world.timeline.now + everyMs
        const answer = holds()
        return answer === true ? undefined : answer === false ? `${name} does not hold` : `${name}: ${answer}`
      })
    }),
  sometimes: (name, is = true) =>
    Effect.sync(() => {
      reached.set(name, (reached.get(name) ?? 0) + (is ? 1 : 0))
    }),
  eventually: (name, effect, within) => {
    const fail = (detail: string) => Effect.fail(new NotLive({ name, detail }))
    let last: unknown
    const attempt = Effect.catchCause(effect, (cause): Effect.Effect<never, "again"> => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      last = Cause.squash(cause)
      return Effect.fail("again")
    })
    return faults.mend.pipe(
      Effect.catch((error) => fail(`a node does not start: ${String(error)}`)),
      Effect.andThen(
        Effect.timeoutOrElse(Effect.orDie(Effect.retry(attempt, everyHalfSecond)), {
          duration: within,
          orElse: () =>
            fail(`not within ${Duration.format(Duration.fromInputUnsafe(within))}; the last failure: ${String(last)}`)
        })
      )
    )
  }
})

/** A failed run, with the way to repeat it. */
export class SimulationFailed extends Error {
  override readonly name = "SimulationFailed"
  readonly report: SimulationReport

  constructor(report: SimulationReport) {
    const tail = report.trace
      .slice(-15)
      .map(({ at, detail, kind, node }) => `  ${at.toFixed(1).padStart(10)} ms  ${node.padEnd(5)} ${kind} ${detail}`)
    super(
      `${report.problem ?? "failed"}\n\nseed ${JSON.stringify(report.seed)}, ${report.nodes} nodes, ${Math.round(
        report.virtualMs
      )} ms of virtual time, trace ${report.hash.slice(0, 16)}\nthe last events:\n${tail.join("\n")}`
    )
    this.report = report
  }
}

const finish = (running: Generator<Progress, SimulationReport>): SimulationReport => {
  for (let next = running.next(); ; next = running.next()) {
    if (next.done === true) return next.value
  }
}

/** Runs a simulation to its end. */
export function run<A, E>(
  options: SimulateOptions<WholeNode, unknown> & { readonly layer?: undefined },
  program: Program<WholeNode, A, E>
): SimulationReport
export function run<R, E2, A, E>(
  options: SimulateOptions<R, E2> & { readonly layer: (node: NodeInfo) => Layer.Layer<R, E2, NodeServices> },
  program: Program<R, A, E>
): SimulationReport
export function run(
  options: SimulateOptions<WholeNode, unknown>,
  program: Program<WholeNode, unknown, unknown>
): SimulationReport {
  return finish(startWith(options, options.layer ?? wholeNode, program))
}

/**
 * A test: `it("name", simulate(options, program))`. It throws
 * {@link SimulationFailed}, which says what went wrong, the seed, and the last
 * events, if the program fails, a check does not hold, or something is left
 * behind.
 */
export function simulate<A, E>(
  options: SimulateOptions<WholeNode, unknown> & { readonly layer?: undefined },
  program: Program<WholeNode, A, E>
): () => void
export function simulate<R, E2, A, E>(
  options: SimulateOptions<R, E2> & { readonly layer: (node: NodeInfo) => Layer.Layer<R, E2, NodeServices> },
  program: Program<R, A, E>
): () => void
export function simulate(
  options: SimulateOptions<WholeNode, unknown>,
  program: Program<WholeNode, unknown, unknown>
): () => void {
  return () => {
    const report = finish(startWith(options, options.layer ?? wholeNode, program))
    if (!report.ok) throw new SimulationFailed(report)
  }
}
