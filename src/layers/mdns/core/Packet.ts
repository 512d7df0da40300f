/**
 * Packets of multicast DNS, as far as peers need them: questions, and records
 * of the types PTR, TXT, SRV, A and AAAA. Others are passed over. Names are in
 * lower case, since DNS does not tell cases apart. Pure.
 *
 * Specification: RFC 6762, section 18.
 */
import * as Result from "effect/Result"
import { type Answer, AUTHORITATIVE_ANSWER, decode as decodePacket, encode as encodePacket } from "dns-packet"
import { guard, type PacketError } from "./Guard.ts"

interface Question {
  readonly name: string
  /** Such as `PTR` or `ANY`. */
  readonly type: string
}

interface Common {
  readonly name: string
  /** In seconds; 0 says goodbye. */
  readonly ttl: number
  /** It replaces what was said before under this name and type. */
  readonly flush: boolean
}

export type Rec = Common &
  (
    | { readonly type: "PTR"; readonly target: string }
    | { readonly type: "TXT"; readonly texts: ReadonlyArray<Uint8Array> }
    | { readonly type: "SRV"; readonly port: number; readonly target: string }
    | { readonly type: "A" | "AAAA"; readonly host: string }
  )

export interface Message {
  readonly kind: "query" | "response"
  /** By which an answer to one alone is told from others. Default 0, as multicast DNS has it. */
  readonly id?: number | undefined
  readonly questions: ReadonlyArray<Question>
  /** Of a query: what is known already. */
  readonly answers: ReadonlyArray<Rec>
  readonly additionals: ReadonlyArray<Rec>
}

const toText = (piece: string | Buffer): Uint8Array =>
  typeof piece === "string" ? Buffer.from(piece) : new Uint8Array(piece)

const read = (answer: Answer): ReadonlyArray<Rec> => {
  if (answer.type === "OPT") return []
  const common = { name: answer.name.toLowerCase(), ttl: answer.ttl ?? 0, flush: answer.flush === true }
  if (answer.class !== "IN") return []
  switch (answer.type) {
    case "PTR":
      return [{ ...common, type: "PTR", target: answer.data.toLowerCase() }]
    case "TXT":
      return [{ ...common, type: "TXT", texts: [answer.data].flat().map(toText) }]
    case "SRV":
      return [{ ...common, type: "SRV", port: answer.data.port, target: answer.data.target.toLowerCase() }]
    case "A":
    case "AAAA":
      return [{ ...common, type: answer.type, host: answer.data }]
    default:
      return []
  }
}

/** Reads a packet that anybody may have sent. */
export const decode = (bytes: Uint8Array): Result.Result<Message, PacketError> => {
  const guarded = guard(bytes)
  if (Result.isFailure(guarded)) return Result.fail(guarded.failure)
  const safe = guarded.success.bytes
  return Result.try({
    try: (): Message => {
      const packet = decodePacket(Buffer.from(safe.buffer, safe.byteOffset, safe.length))
      return {
        kind: packet.flag_qr ? "response" : "query",
        id: packet.id,
        questions: (packet.questions ?? []).map(({ name, type }) => ({ name: name.toLowerCase(), type })),
        answers: (packet.answers ?? []).flatMap(read),
        additionals: (packet.additionals ?? []).flatMap(read)
      }
    },
    // What the guard lets through is read; this is for what nobody has thought of.
    catch: (): PacketError => ({ _tag: "PacketError", detail: "it cannot be decoded" })
  })
}

const written = (rec: Rec): Answer => {
  const common = { name: rec.name, ttl: rec.ttl, flush: rec.flush, class: "IN" as const }
  switch (rec.type) {
    case "PTR":
      return { ...common, type: "PTR", data: rec.target }
    case "TXT":
      return { ...common, type: "TXT", data: rec.texts.map((text) => Buffer.from(text)) }
    case "SRV":
      return { ...common, type: "SRV", data: { port: rec.port, target: rec.target, priority: 0, weight: 0 } }
    case "A":
    case "AAAA":
      return { ...common, type: rec.type, data: rec.host }
  }
}

/** Types that are asked for. */
const asked = { PTR: "PTR", TXT: "TXT", SRV: "SRV", A: "A", AAAA: "AAAA" } as const

/** Whether a question of this type can be written. */
export const isAsked = (type: string): type is keyof typeof asked => Object.hasOwn(asked, type)

/** Writes a packet of our own: its names and texts fit, or this is a bug. */
export const encode = ({ additionals, answers, id, kind, questions }: Message): Uint8Array =>
  encodePacket({
    type: kind,
    id: id ?? 0,
    flags: kind === "response" ? AUTHORITATIVE_ANSWER : 0,
    questions: questions.flatMap(({ name, type }) => (isAsked(type) ? [{ name, type, class: "IN" }] : [])),
    answers: answers.map(written),
    additionals: additionals.map(written)
  })
