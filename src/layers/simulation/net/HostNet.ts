/** The Net service of one boot of a simulated host. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import {
  type ConnectOptions,
  type Endpoint,
  type InterfaceAddress,
  type ListenOptions,
  LookupFailed,
  NameNotFound,
  Net,
  NetError,
  type NetErrorReason,
  type Socket,
  SocketClosed,
  type SocketListener,
  SystemRefused
} from "../../../services/Net.ts"
import { Inbox, takeScoped } from "../../internal/Inbox.ts"
import { familyOf } from "./Address.ts"
import type { NameRecord } from "./Fabric.ts"
import { bind } from "./SimDatagram.ts"
import { SimSocket } from "./SimStream.ts"
import { Attempt, type Listener, type Stack } from "./Stack.ts"

/** What a question to the resolver takes. */
const lookupMs = 5
/** When a question that nobody answers is given up. */
const lookupTimeoutMs = 5000
/** When a packet without a route is known to have none. */
const unreachableMs = 3

/** Waits, on the timeline, until something is so; a paused node does not notice. */
const pause = (stack: Stack, ms: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = stack.fabric.timeline.after(ms, () => stack.host.schedule(() => resume(Effect.void)))
    return Effect.sync(timer.cancel)
  })

/** By itself, so that it holds on to nothing but the socket. */
const release = (socket: SimSocket): Effect.Effect<void> => Effect.sync(() => socket.release())

const connect = (stack: Stack, options: ConnectOptions): Effect.Effect<Socket, NetError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const remote: Endpoint = { host: options.host, port: options.port }
      const refuse = (reason: NetErrorReason) => new NetError({ operation: "connect", endpoint: remote, reason })
      let wake: (() => void) | undefined
      const started = stack.dial(remote, options.localPort, () => stack.host.schedule(() => wake?.()))
      if (!(started instanceof Attempt)) {
        if (started._tag === "Unreachable") yield* restore(pause(stack, unreachableMs))
        return yield* refuse(started)
      }
      const settled = Effect.callback<void>((resume) => {
        if (started.outcome !== undefined) return resume(Effect.void)
        wake = () => resume(Effect.void)
        return Effect.sync(() => {
          wake = undefined
        })
      })
      yield* Effect.onInterrupt(restore(settled), () => Effect.sync(() => started.abort()))
      const { outcome } = started
      if (!(outcome instanceof SimSocket)) return yield* refuse(outcome ?? new SystemRefused({ code: "ECANCELED" }))
      yield* Scope.addFinalizer(scope, release(outcome))
      return outcome
    })
  )

const listen = (stack: Stack, options: ListenOptions): Effect.Effect<SocketListener, NetError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const asked: Endpoint = { host: options.host, port: options.port }
      const reason = stack.unusable(asked, stack.listeners)
      if (reason !== undefined) return yield* new NetError({ operation: "listen", endpoint: asked, reason })
      const local = asked.port === 0 ? { host: asked.host, port: stack.freePort() } : asked
      const accepting = new Inbox<SimSocket>(options.backlog ?? 128, (task) => stack.host.schedule(task))
      const listener: Listener = { local, reusePort: options.reusePort === true, accepting }
      yield* Effect.acquireRelease(
        Effect.sync(() => stack.listeners.push(listener)),
        () =>
          Effect.sync(() => {
            const at = stack.listeners.indexOf(listener)
            if (at >= 0) stack.listeners.splice(at, 1)
            for (const socket of accepting.close()) socket.reset("its listener was closed")
          })
      )
      const closed = Effect.suspend(
        () => new NetError({ operation: "accept", endpoint: local, reason: new SocketClosed() })
      )
      return { local, accept: takeScoped(accepting, release, closed) }
    })
  )

const interfacesOf = (addresses: ReadonlyArray<string>): ReadonlyArray<InterfaceAddress> => {
  const loopback = (host: string, prefixLength: number): InterfaceAddress => ({
    name: "lo",
    host,
    family: familyOf(host),
    internal: true,
    prefixLength
  })
  const own = addresses.map((host): InterfaceAddress => {
    const family = familyOf(host)
    return { name: "eth0", host, family, internal: false, prefixLength: family === 6 ? 64 : 24 }
  })
  return [loopback("127.0.0.1", 8), loopback("::1", 128), ...own]
}

const lookup = (
  stack: Stack,
  name: string,
  pick: (found: NameRecord) => ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, NetError> =>
  Effect.gen(function* () {
    const { fabric, host } = stack
    const fail = (reason: NetErrorReason) => new NetError({ operation: "lookup", endpoint: undefined, reason })
    const failed = (code: string) => {
      fabric.note(host.name, "dns.failed", `${name} ${code}`)
      return fail(new LookupFailed({ name, code }))
    }
    if (!stack.alive) return yield* fail(new SystemRefused({ code: "ENETDOWN" }))
    fabric.stats.lookups++
    const cut = fabric.isolated.has(host)
    yield* pause(stack, cut ? lookupTimeoutMs : lookupMs)
    if (cut) return yield* failed("ETIMEOUT")
    if (fabric.allDeaf || fabric.deaf.has(host)) return yield* failed("ESERVFAIL")
    const found = pick(fabric.names.get(name) ?? {})
    fabric.note(host.name, "dns.lookup", `${name} ${found.join(" ")}`)
    return found.length > 0 ? found : yield* fail(new NameNotFound({ name }))
  })

export const make = (stack: Stack): Net["Service"] =>
  Net.of({
    connect: (options) => connect(stack, options),
    listen: (options) => listen(stack, options),
    bind: (options) => bind(stack, options),
    interfaces: Effect.sync(() => interfacesOf(stack.host.addresses)),
    lookup: (name, family) =>
      lookup(stack, name, ({ addresses = [] }) =>
        addresses.filter((address) => family === "any" || familyOf(address) === family)
      ),
    lookupTxt: (name) => lookup(stack, name, ({ txt = [] }) => txt)
  })
