/** What a Yamux session knows of one stream: its windows. Only the session changes it. */
import * as Shared from "../internal/StreamState.ts"
import { initialWindow } from "./Frame.ts"

export class StreamState extends Shared.StreamState {
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
  /** Counts as unacknowledged by the remote. */
  unacknowledged: boolean

  constructor(id: number, inbound: boolean, nowMs: number) {
    super(id, inbound)
    this.unacknowledged = !inbound
    this.windowAt = nowMs
  }
}
