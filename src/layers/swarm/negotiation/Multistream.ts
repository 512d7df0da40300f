/**
 * multistream-select 1.0: two ends of a byte stream agree on a protocol. Pure:
 * bytes in, bytes and a verdict out.
 *
 * A message is a varint length, text, and a line feed that the length counts.
 * The dialer sends the header and its first proposal together, without waiting
 * for the listener's header; with a single proposal the stream can be used at
 * once and the answer checked when it comes ({@link Dialer.start}).
 *
 * Specification: connections/README.md, "multistream-select".
 */
import * as Bytes from "../../../data/Bytes.ts"
import * as Varint from "../../../data/Varint.ts"

export const header = "/multistream/1.0.0"
const notAvailable = "na"
const list = "ls"

/** The longest message accepted, in bytes. Protocol names are far shorter. */
export const maxMessageSize = 1024
/** Proposals that a listener answers before it gives up on the dialer. */
export const maxProposals = 64

/** The remote supports none of the proposals. */
interface NotSupported {
  readonly _tag: "NotSupported"
}
/** The remote does not speak multistream-select, or breaks its rules. `begun`: it had sent the header. */
interface Malformed {
  readonly _tag: "Malformed"
  readonly detail: string
  readonly begun: boolean
}
export type Failure = NotSupported | Malformed

/** What a batch of bytes led to. `rest` is what follows the negotiation in it. */
export type Step =
  | { readonly _tag: "More" }
  | { readonly _tag: "Selected"; readonly protocol: string; readonly rest: Uint8Array }
  | { readonly _tag: "Failed"; readonly failure: Failure }

const more: Step = { _tag: "More" }
const failed = (failure: Failure): Step => ({ _tag: "Failed", failure })
const malformed = (detail: string, begun = true): Step => failed({ _tag: "Malformed", detail, begun })

const message = (text: string): Uint8Array => {
  const line = Bytes.fromUtf8(`${text}\n`)
  return Bytes.concat([Varint.encode(line.length), line])
}

/** What was sent, of the last few protocols: most streams speak the same. Never changed. */
const remembered = new Map<string, Uint8Array>()
const mostRemembered = 64

const protocolMessage = (protocol: string): Uint8Array => {
  const known = remembered.get(protocol)
  if (known !== undefined) return known
  const made = message(protocol)
  if (remembered.size >= mostRemembered) remembered.clear()
  remembered.set(protocol, made)
  return made
}

const headerMessage = message(header)
const notAvailableMessage = message(notAvailable)

/** `ls`: the protocols as messages inside a message. */
const listMessage = (protocols: ReadonlyArray<string>): Uint8Array => {
  const body = Bytes.concat([...protocols.map(message), Bytes.fromUtf8("\n")])
  return Bytes.concat([Varint.encode(body.length), body])
}

/** Cuts bytes into messages, holding at most one that is incomplete. The first must be the header, which it keeps to itself. */
class Lines {
  private held: Uint8Array = new Uint8Array(0)
  private sawHeader = false
  private readonly onHeader: () => void

  constructor(onHeader: () => void) {
    this.onHeader = onHeader
  }

  push(bytes: Uint8Array): void {
    this.held = this.held.length === 0 ? bytes : Bytes.concat([this.held, bytes])
  }

  /** The next message without its line feed, or a step: `more` if it is not whole yet, a failure if it never will be. */
  next(): string | Step {
    const length = Varint.decode(this.held, 0)
    if (length._tag === "Incomplete") return this.wait()
    if (length._tag === "Invalid") return malformed(`a message length that is ${length.reason}`, this.sawHeader)
    // The header's length is known: who speaks another protocol is told at once, not at the deadline.
    if (!this.sawHeader && length.value !== headerMessage.length - 1) {
      return malformed(`no ${header} at its beginning`, false)
    }
    if (length.value === 0) return malformed("an empty message")
    if (length.value > maxMessageSize) {
      return malformed(`a message of ${length.value} bytes, over the limit of ${maxMessageSize}`)
    }
    const end = length.size + length.value
    if (this.held.length < end) return this.wait()
    if (this.held[end - 1] !== 0x0a) return malformed("a message without a line feed at its end", this.sawHeader)
    const text = Bytes.toUtf8(this.held.subarray(length.size, end - 1))
    this.held = this.held.subarray(end)
    if (this.sawHeader) return text
    if (text !== header) return malformed(`${JSON.stringify(text)} where ${header} was due`, false)
    this.sawHeader = true
    this.onHeader()
    return this.next()
  }

  rest(): Uint8Array {
    return this.held
  }

  /** The bytes may have been lent: what is held is copied before it is waited on. */
  private wait(): Step {
    if (this.held.length > 0) this.held = this.held.slice()
    return more
  }
}

/** The end that proposes. */
export class Dialer {
  private readonly lines = new Lines(() => {})
  private readonly protocols: ReadonlyArray<string>
  private proposed = 0
  private output: Array<Uint8Array> = []

  /** `protocols` in order of preference; at least one. */
  constructor(protocols: ReadonlyArray<string>) {
    this.protocols = protocols
    this.output.push(headerMessage)
    this.propose()
  }

  /** The bytes to send: at first the header and the first proposal. Empty when there is nothing to send. */
  takeOutput(): Uint8Array {
    const bytes = Bytes.concat(this.output)
    this.output = []
    return bytes
  }

  receive(bytes: Uint8Array): Step {
    this.lines.push(bytes)
    for (;;) {
      const line = this.lines.next()
      if (typeof line !== "string") return line
      if (line === notAvailable) {
        if (!this.propose()) return failed({ _tag: "NotSupported" })
      } else {
        const protocol = this.protocols[this.proposed - 1]
        if (protocol === undefined || line !== protocol) {
          return malformed(`${JSON.stringify(line.slice(0, 64))} in answer to ${protocol ?? "nothing"}`)
        }
        return { _tag: "Selected", protocol, rest: this.lines.rest() }
      }
    }
  }

  private propose(): boolean {
    const protocol = this.protocols[this.proposed]
    if (protocol === undefined) return false
    this.proposed++
    this.output.push(protocolMessage(protocol))
    return true
  }
}

/** The end that answers. */
export class Listener {
  private readonly lines = new Lines(() => this.output.push(headerMessage))
  private readonly supports: (protocol: string) => boolean
  private readonly protocols: () => ReadonlyArray<string>
  private proposals = 0
  private output: Array<Uint8Array> = []

  /** `protocols` is asked for only when the dialer sends `ls`. */
  constructor(supports: (protocol: string) => boolean, protocols: () => ReadonlyArray<string>) {
    this.supports = supports
    this.protocols = protocols
  }

  /** The bytes to send. Empty when there is nothing to send. */
  takeOutput(): Uint8Array {
    const bytes = Bytes.concat(this.output)
    this.output = []
    return bytes
  }

  receive(bytes: Uint8Array): Step {
    this.lines.push(bytes)
    for (;;) {
      const line = this.lines.next()
      if (typeof line !== "string") return line
      if (++this.proposals > maxProposals) return malformed(`more than ${maxProposals} proposals`)
      if (line === list) {
        this.output.push(listMessage(this.protocols()))
      } else if (this.supports(line)) {
        this.output.push(protocolMessage(line))
        return { _tag: "Selected", protocol: line, rest: this.lines.rest() }
      } else {
        this.output.push(notAvailableMessage)
      }
    }
  }
}
