/** `effect-libp2p put` and `get`: records of a network, by a node made for them. */
import * as Effect from "effect/Effect"
import process from "node:process"
import * as Bytes from "../../data/Bytes.ts"
import { RecordStore } from "../../services/RecordStore.ts"
import { UsageError } from "./Failure.ts"
import { Output, plain } from "./Output.ts"
import { watching } from "./QuestionProgress.ts"
import * as Routed from "./Routed.ts"
import type { Settings } from "./Settings.ts"

/** A key is a path, such as `/pk/…`. Its last part may be in hexadecimal: `/pk/0x…`, since that of `/pk` is bytes. */
const parseKey = (text: string): Effect.Effect<Uint8Array, UsageError> => {
  if (!/^\/[^/]+\/./.test(text)) {
    return Effect.fail(new UsageError({ detail: `"${text}" is not a key: it looks like /namespace/name` }))
  }
  const [, head = "", hex] = /^(\/[^/]+\/)0x((?:[0-9a-f]{2})+)$/i.exec(text) ?? []
  if (hex === undefined) return Effect.succeed(Bytes.fromUtf8(text))
  return Effect.succeed(Bytes.concat([Bytes.fromUtf8(head), Buffer.from(hex, "hex")]))
}

/** `-` is stdin, to its end; the limit is that of a record. */
const readValue = (text: string): Effect.Effect<Uint8Array, UsageError> =>
  text !== "-"
    ? Effect.succeed(Bytes.fromUtf8(text))
    : Effect.tryPromise({
        try: async () => {
          const chunks: Array<Uint8Array> = []
          let size = 0
          for await (const chunk of process.stdin) {
            const bytes: Uint8Array = Buffer.from(chunk)
            size += bytes.length
            if (size > maxValue) throw new Error(`more than ${maxValue} bytes`)
            chunks.push(bytes)
          }
          return Bytes.concat(chunks)
        },
        catch: (error) =>
          new UsageError({
            detail: `stdin cannot be a value: ${error instanceof Error ? error.message : String(error)}`
          })
      })

const maxValue = 64 * 1024

export const put = (settings: Settings, keyText: string, valueText: string, quorum: number | undefined) =>
  Effect.gen(function* () {
    const key = yield* parseKey(keyText)
    const value = yield* readValue(valueText)
    yield* Effect.gen(function* () {
      const output = yield* Output
      const records = yield* RecordStore
      yield* watching(({ onProgress }) =>
        Effect.andThen(
          records.put(key, value, { onProgress, quorum }),
          output.event(
            { event: "put", key: keyText, bytes: value.length },
            `${keyText} is stored: ${value.length} bytes`
          )
        )
      )
    }).pipe(Routed.provideNew(settings))
  })

export const get = (settings: Settings, keyText: string, quorum: number | undefined) =>
  Effect.gen(function* () {
    const key = yield* parseKey(keyText)
    yield* Effect.gen(function* () {
      const output = yield* Output
      const records = yield* RecordStore
      yield* watching(({ onProgress }) =>
        Effect.flatMap(records.get(key, { onProgress, quorum }), ({ value }) =>
          output.json || process.stdout.isTTY
            ? output.event(
                { event: "got", key: keyText, value: Buffer.from(value).toString("base64") },
                plain(Bytes.toUtf8(value))
              )
            : Effect.sync(() => void process.stdout.write(value))
        )
      )
    }).pipe(Routed.provideNew(settings))
  })
