/** What a session knows of one stream. Only the session changes it. */
import { initialWindow } from "./Frame.ts"
import { Inbox } from "./Inbox.ts"

/** Why a stream failed. */
export type StreamFailure =
  | { readonly _tag: "ResetByPeer" }
  | { readonly _tag: "ResetLocally"; readonly because: string }
  | { readonly _tag: "ConnectionLost"; readonly detail: string }

export const resetByPeer: StreamFailure = { _tag: "ResetByPeer" }

export class StreamState {
  readonly id: number
  /** True when the remote opened it. */
  readonly inbound: boolean
  readonly inbox = new Inbox()
  /** Bytes that may be sent. */
  sendWindow = initialWindow
  /** Bytes that the remote may send. */
  receiveWindow = initialWindow
  /** The size that the receive window is brought back to. */
  windowSize = initialWindow
  /** Bytes read whose window was not given back yet. */
  consumed = 0
  /** When window was last given back, in ms. */
  windowAt: number
  /** Our SYN, or for an inbound stream our ACK, was sent. */
  announced = false
  /** Counts as unacknowledged by the remote. */
  unacknowledged: boolean
  /** Our FIN was sent. */
  writeClosed = false
  /** The remote's FIN arrived. */
  remoteClosed = false
  /** Nobody reads here any more. */
  readClosed = false
  failure: StreamFailure | undefined
  /** Both directions are done or it failed: the session has forgotten it. */
  done = false
  /** Waits for a turn to write. */
  queued = false
  /** What is left of its turn, in bytes. */
  credit = 0
  /** Is in the list of streams that something happened to. */
  touched = false
  /** Called by the shell, after a batch, when something happened to the stream. */
  wake: (() => void) | undefined

  constructor(id: number, inbound: boolean, nowMs: number) {
    this.id = id
    this.inbound = inbound
    this.unacknowledged = !inbound
    this.windowAt = nowMs
  }
}
