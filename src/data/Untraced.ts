/** Errors that say what became of a remote or a stream, and not where in the code: made without a stack trace. */

/**
 * Runs `make` while no stack traces are taken. One of the depth that a connection's turn has takes 35 µs and more,
 * twenty times the error itself, and names the loop that runs fibers. Everyday errors, such as the end of a
 * connection, are made in it.
 */
export const untraced = <A>(make: () => A): A => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
