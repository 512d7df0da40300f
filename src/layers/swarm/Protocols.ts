/** The registry of protocol handlers; one for a node. */
import { Effect, Layer, Scope } from "effect"
import {
  type Handler,
  type HandlerOptions,
  Protocols,
  ProtocolTaken,
  type Registration
} from "../../services/Protocols.ts"

const defaultMaxStreams = 1024

const make = Effect.sync(() => {
  const handlers = new Map<string, Registration>()
  const list = () => [...handlers.keys()].toSorted()

  const handle = Effect.fnUntraced(function* <E, R>(
    protocol: string,
    handler: Handler<E, R>,
    options?: HandlerOptions
  ) {
    const context = yield* Effect.context<R>()
    const scope = yield* Effect.scope
    if (handlers.has(protocol)) return yield* new ProtocolTaken({ protocol })
    handlers.set(protocol, {
      protocol,
      maxStreamsPerConnection: options?.maxStreamsPerConnection ?? defaultMaxStreams,
      run: (stream) => Effect.provideContext(handler(stream), context)
    })
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => handlers.delete(protocol))
    )
  })

  return Protocols.of({ handle, registered: Effect.sync(list), find: (protocol) => handlers.get(protocol), list })
})

export const layer: Layer.Layer<Protocols> = Layer.effect(Protocols, make)
