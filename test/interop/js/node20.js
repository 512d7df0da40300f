// All that js-libp2p needs and Node.js 20 lacks.
Promise.withResolvers ??= function () {
  let resolve
  let reject
  const promise = new this((...settle) => {
    ;[resolve, reject] = settle
  })
  return { promise, resolve, reject }
}
