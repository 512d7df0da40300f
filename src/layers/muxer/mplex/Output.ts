/** Output: the messages that an Mplex session has to send. */
import * as Varint from "../../../data/Varint.ts"
import { copyLimit, Output as Packed } from "../internal/Output.ts"
import { maxHeader } from "./Frame.ts"

export class Output extends Packed {
  /** A header and its data. Much data is not copied: it must not change until it was sent. */
  message(header: number, data: Uint8Array): void {
    const copied = data.length <= copyLimit ? data.length : 0
    const slab = this.reserve(maxHeader + copied)
    const start = this.slabUsed
    const end = Varint.encodeInto(data.length, slab, Varint.encodeInto(header, slab, start))
    if (copied === 0) {
      this.wrote(end - start)
      if (data.length > 0) this.refer(data)
      return
    }
    slab.set(data, end)
    this.wrote(end - start + copied)
  }
}
