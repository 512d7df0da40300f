/** Output: the frames that a Yamux session has to send. */
import { copyLimit, Output as Packed } from "../internal/Output.ts"
import { headerLength, writeHeader } from "./Frame.ts"

export class Output extends Packed {
  header(type: number, flags: number, id: number, length: number): void {
    const slab = this.reserve(headerLength)
    writeHeader(slab, this.slabUsed, type, flags, id, length)
    this.wrote(headerLength)
  }

  /** A header and its payload. A large payload is not copied: it must not change until it was sent. */
  frame(type: number, flags: number, id: number, payload: Uint8Array): void {
    if (payload.length > copyLimit) {
      this.header(type, flags, id, payload.length)
      this.refer(payload)
      return
    }
    const slab = this.reserve(headerLength + payload.length)
    writeHeader(slab, this.slabUsed, type, flags, id, payload.length)
    slab.set(payload, this.slabUsed + headerLength)
    this.wrote(headerLength + payload.length)
  }
}
