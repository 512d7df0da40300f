// Messages instead of bytes: length-prefixed JSON, checked by a Schema on both ends.
import { Effect, Layer, Schema, Stream } from "effect"
import { Libp2p, Protocols, ProtocolStream, Swarm } from "effect-libp2p"

const Message = ProtocolStream.json(Schema.Struct({ from: Schema.String, text: Schema.String }))

const Chat = Protocols.layerHandler("/chat/1.0.0", (stream) => {
  const chat = ProtocolStream.messages(stream, Message, { maxSize: 4096 })
  return Stream.runForEach(chat.stream, ({ from }) => chat.write({ from: "server", text: `hello ${from}` }))
})

export const ask = (target: Swarm.DialTarget, from: string) =>
  Effect.gen(function* () {
    const swarm = yield* Swarm.Swarm
    const chat = ProtocolStream.messages(yield* swarm.openStream(target, "/chat/1.0.0"), Message)
    yield* chat.write({ from, text: "anyone there?" })
    return yield* chat.read
  }).pipe(Effect.scoped)

export const ChatNode = Chat.pipe(Layer.provideMerge(Libp2p.layerDefault({ listen: ["/ip4/127.0.0.1/tcp/0"] })))
