/** What a session knows of one stream, whatever its protocol. Only the session changes it. */
import { Inbox } from "./Inbox.ts"

/** Why a stream failed. */
export type StreamFailure =
  | { readonly _tag: "ResetByPeer" }
  | { readonly _tag: "ResetLocally"; readonly because: string }
  | { readonly _tag: "ConnectionLost"; readonly detail: string }

export const resetByPeer: StreamFailure = { _tag: "ResetByPeer" }

export class StreamState {
  /** Unique within the session, never reused. */
  readonly id: number
  /** True when the remote opened it. */
  readonly inbound: boolean
  readonly inbox = new Inbox()
  /** The remote was told of it, or for an inbound stream, where the protocol has that, that it was accepted. */
  announced = false
  /** Our half-close was sent. */
  writeClosed = false
  /** The remote's half-close arrived. */
  remoteClosed = false
  /** Nobody reads here any more. */
  readClosed = false
  failure: StreamFailure | undefined
  /** Both directions are done or it failed: nothing more comes or goes. */
  done = false
  /** Waits for a turn to write. */
  queued = false
  /** What is left of its turn, in bytes. */
  credit = 0
  /** Is in the list of streams that something happened to. */
  touched = false
  /** Is told by the shell, after a batch, that something happened to the stream. */
  owner: { readonly wake: () => void } | undefined

  constructor(id: number, inbound: boolean) {
    this.id = id
    this.inbound = inbound
  }
}
