/**
 * A node of a simulation: a layer that is built, stopped, crashed and built
 * again at a place of its own, with its own host, disk, clock and identity.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { Observer } from "../../services/Actors.ts"
import type { Crypto } from "../../services/Crypto.ts"
import type { Identity } from "../../services/Identity.ts"
import type { Net } from "../../services/Net.ts"
import type { SimHost } from "./net/SimNetwork.ts"
import type { SimDisk } from "./SimDisk.ts"
import type { Place, World } from "./World.ts"

/** What a simulation gives to the layer of each node. */
export type NodeServices = Net | Identity | Crypto | SecureRandom.SecureRandom | FileSystem.FileSystem

/** What is left of a disk after a crash. */
export type DiskAfterCrash = "kept" | "lost" | "torn"

/** The node is not running: it crashed or was stopped. */
export class NodeDown extends Schema.TaggedError<NodeDown>()("NodeDown", { node: Schema.String }) {
  override get message(): string {
    return `${this.node} is not running`
  }
}

/** What is known of a node before it runs. */
export interface NodeInfo {
  readonly index: number
  /** Such as `n0`. */
  readonly name: string
  readonly peerId: PeerId
  /** Its IP addresses. */
  readonly hosts: ReadonlyArray<string>
}

interface Boot<R> {
  readonly scope: Scope.Closeable
  readonly context: Context.Context<R>
  /** The context, with that of the place under it: joined once, not for every action. */
  readonly whole: Context.Context<R | SecureRandom.SecureRandom>
  readonly fibers: Set<Fiber.Fiber<unknown, unknown>>
}

export interface SimNodeOptions<R, E> {
  readonly world: World
  readonly info: NodeInfo
  readonly place: Place
  readonly host: SimHost
  readonly disk: SimDisk
  readonly layer: Layer.Layer<R, E, NodeServices>
  readonly environment: Layer.Layer<Identity | Crypto>
}

/** Warnings and errors go into the trace; causes do not, since their stack traces differ between machines. */
const traceLogger = (note: (kind: string, detail: string) => void) =>
  Logger.layer([
    Logger.make(({ logLevel, message }) => {
      if (logLevel !== "Warn" && logLevel !== "Error" && logLevel !== "Fatal") return
      const [first] = Array.isArray(message) ? message : [message]
      note(`log.${logLevel.toLowerCase()}`, typeof first === "string" ? first : "")
    })
  ])

export class SimNode<R> {
  readonly info: NodeInfo
  readonly place: Place
  readonly host: SimHost
  readonly disk: SimDisk
  private readonly world: World
  private readonly build: (
    scope: Scope.Closeable
  ) => Effect.Effect<Context.Context<R>, unknown, SecureRandom.SecureRandom>
  private boot: Boot<R> | undefined
  /** A start that is under way, for those who start it too, and for a crash that comes first. */
  private starting:
    | { readonly scope: Scope.Closeable; readonly done: Deferred.Deferred<void, unknown>; crashed: boolean }
    | undefined
  /** What {@link addresses} gave last, and for what: parsing them anew for each action is a part of its cost that shows. */
  private dialled:
    | { readonly hosts: ReadonlyArray<string>; readonly port: number; readonly all: ReadonlyArray<Multiaddr.Multiaddr> }
    | undefined

  constructor(options: SimNodeOptions<R, unknown>) {
    const { disk, environment, host, info, layer, place, world } = options
    this.world = world
    this.info = info
    this.place = place
    this.host = host
    this.disk = disk
    const note = (kind: string, detail: string) => world.note(info.name, kind, detail)
    this.build = (scope) =>
      layer.pipe(
        Layer.provide(Layer.mergeAll(environment, host.layer, disk.layer)),
        Layer.provideMerge(
          Layer.mergeAll(
            traceLogger(note),
            Layer.succeed(Observer, ({ kind, path }) => note(`actor.${kind}`, path))
          )
        ),
        Layer.buildWithScope(scope)
      )
  }

  get name(): string {
    return this.info.name
  }

  get peerId(): PeerId {
    return this.info.peerId
  }

  /** The multiaddrs of a node that listens on TCP port `port`, with its id. */
  addresses(port = 4001): ReadonlyArray<Multiaddr.Multiaddr> {
    const hosts = this.host.addresses
    if (this.dialled?.hosts !== hosts || this.dialled.port !== port) {
      const all = hosts.map((host) =>
        Multiaddr.withPeer(
          Multiaddr.fromStringUnsafe(`/${host.includes(":") ? "ip6" : "ip4"}/${host}/tcp/${port}`),
          this.peerId
        )
      )
      this.dialled = { hosts, port, all }
    }
    return this.dialled.all
  }

  get running(): boolean {
    return this.boot !== undefined
  }

  /** Builds its layer. Fails with what the layer fails with; does nothing if it runs. */
  readonly start: Effect.Effect<void, unknown> = Effect.suspend(() => {
    if (this.boot !== undefined) return Effect.void
    if (this.starting !== undefined) return Deferred.await(this.starting.done)
    if (!this.host.up) this.host.boot()
    const scope = Scope.makeUnsafe()
    const starting = { scope, done: Deferred.makeUnsafe<void, unknown>(), crashed: false }
    this.starting = starting
    return this.at(this.place.context, this.build(scope)).pipe(
      Effect.flatMap((context) => {
        if (starting.crashed) return Effect.fail(new NodeDown({ node: this.name }))
        this.boot = { scope, context, whole: Context.merge(this.place.context, context), fibers: new Set() }
        this.world.note(this.name, "node.started", this.peerId.toString())
        return Effect.void
      }),
      Effect.onExit((exit) => {
        if (this.starting === starting) this.starting = undefined
        Deferred.doneUnsafe(starting.done, exit)
        return Exit.isFailure(exit) ? this.at(this.place.context, Scope.close(scope, exit)) : Effect.void
      })
    )
  })

  /** Closes its scope, as a process that is asked to stop does. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => {
    const { boot } = this
    if (boot === undefined) return Effect.void
    this.boot = undefined
    for (const fiber of boot.fibers) fiber.interruptUnsafe()
    return Effect.andThen(
      this.at(this.place.context, Scope.close(boot.scope, Exit.void)),
      Effect.sync(() => this.world.note(this.name, "node.stopped", ""))
    )
  })

  /** Ends it without a word: no packet leaves, nothing more reaches its disk. Synchronous, as crashes are. */
  crash(disk: DiskAfterCrash): void {
    const { boot, starting } = this
    if (boot === undefined && starting === undefined) return
    this.boot = undefined
    if (starting !== undefined) {
      starting.crashed = true
      this.starting = undefined
    }
    this.world.note(this.name, "node.crashed", `disk ${disk}`)
    this.host.crash()
    this.disk.crash(disk)
    this.place.scheduler.resume()
    // What is left in memory is let go; it reaches neither network nor disk.
    for (const fiber of boot?.fibers ?? []) fiber.interruptUnsafe()
    for (const scope of [boot?.scope, starting?.scope]) {
      if (scope !== undefined) this.world.fork(this.place, Scope.close(scope, Exit.void))
    }
  }

  /** Runs an effect on the node, with its services, in its turn and its time. It ends with the node. */
  run<A, E>(effect: Effect.Effect<A, E, R | SecureRandom.SecureRandom>): Effect.Effect<A, E | NodeDown> {
    return Effect.suspend((): Effect.Effect<A, E | NodeDown> => {
      const { boot } = this
      if (boot === undefined) return Effect.fail(new NodeDown({ node: this.name }))
      const down = (): Effect.Effect<never, NodeDown> | undefined =>
        this.boot === boot ? undefined : Effect.fail(new NodeDown({ node: this.name }))
      return this.at(boot.whole, effect, boot.fibers, down)
    })
  }

  /** A service of the node, as it runs now. */
  get<I extends R, S>(service: Context.Key<I, S>): Effect.Effect<S, NodeDown> {
    return Effect.suspend(() =>
      this.boot === undefined
        ? Effect.fail(new NodeDown({ node: this.name }))
        : Effect.succeed(Context.get(this.boot.context, service))
    )
  }

  /** Runs an effect at the node's place, and comes back to the caller's turn with its exit. */
  private at<A, E, R2, E2 = never>(
    context: Context.Context<R2>,
    effect: Effect.Effect<A, E, R2>,
    fibers?: Set<Fiber.Fiber<unknown, unknown>>,
    instead?: () => Effect.Effect<never, E2> | undefined
  ): Effect.Effect<A, E | E2> {
    const { world } = this
    return Effect.callback<A, E | E2>(function (resume) {
      const caller = this.makeDispatcher()
      const fiber = world.fork({ context }, effect)
      fibers?.add(fiber)
      fiber.addObserver((exit) => {
        fibers?.delete(fiber)
        caller.scheduleTask(() => resume((Exit.isFailure(exit) ? instead?.() : undefined) ?? exit), 0)
      })
      return Effect.sync(() => fiber.interruptUnsafe())
    })
  }
}
