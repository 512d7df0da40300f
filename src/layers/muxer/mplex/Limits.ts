/** The bounds of an Mplex session. Everything that a remote can make grow has one. */
import * as Shared from "../internal/Limits.ts"

export interface Limits extends Shared.Limits {
  /**
   * Bytes that may wait on one stream for its reader. Mplex cannot tell the remote
   * to stop, so beyond it nothing more is read from the whole connection until
   * half of them were read, for at most `slowReaderMs`; then the stream is reset.
   * Four times the largest message: what a sender may have on its way while the
   * reader of an honest application is busy. The bound is met by at most one batch
   * of the connection more.
   */
  readonly maxUnreadPerStream: number
  /**
   * How long a slow reader may hold up all the others, in ms. The same holds when
   * all streams together reach three quarters of `maxUnread`: then the largest
   * are reset until they hold half of it.
   */
  readonly slowReaderMs: number
}

export const defaults: Limits = {
  ...Shared.defaults,
  maxUnread: 16 * 1024 * 1024,
  maxUnreadPerStream: 4 * 1024 * 1024,
  slowReaderMs: 5000
}
