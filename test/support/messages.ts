/** What leaves at a time. */
import type { ByteStream } from "../../src/services/ByteStream.ts"

/** The same stream; the sizes of what is written between two flushes go into `messages`. */
export const noting = (connection: ByteStream, messages: Array<number>): ByteStream => {
  let gathered = 0
  return {
    ownedReads: connection.ownedReads,
    tryRead: () => connection.tryRead(),
    tryWrite: (bytes) => {
      const taken = connection.tryWrite(bytes)
      gathered += taken
      return taken
    },
    flush: () => {
      if (gathered > 0) messages.push(gathered)
      gathered = 0
      connection.flush()
    },
    reset: (because) => connection.reset(because),
    get readable() {
      return connection.readable
    },
    get writable() {
      return connection.writable
    },
    get closeWrite() {
      return connection.closeWrite
    }
  }
}
