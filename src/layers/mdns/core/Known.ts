/**
 * What who asks knows already, so that it is not told again. The list of RFC
 * 6762, section 7.1, has a whole record of 80 bytes for each peer, and two
 * hundred of them are twelve packets. This one has four bytes for each, and goes
 * into one packet: those who do not read it answer as if it was not there.
 *
 * Of more peers than fit, a query asks for a share: those whose digest leaves a
 * certain remainder; the next query asks for the next share. Pure.
 */

/** Digests of a list, in the middle; shares are not all of one size. */
const capacity = 256
/** Digests of a list at most: with what is around it, a packet that fits into a frame of Ethernet. */
const most = 300
/** Bytes of a text of a TXT record. */
const maxText = 255
const headerBytes = 5
const form = 1

export interface Known {
  /** Only those with this remainder are asked for. */
  readonly shares: number
  readonly share: number
  readonly digests: ReadonlyArray<number>
}

/** Shares at most: each is to be asked for within the time in which those that are to be heard again are asked for. */
const maxShares = 8

/** How many shares so many peers are asked for in. */
export const sharesOf = (count: number): number => Math.min(maxShares, Math.max(1, Math.ceil(count / capacity)))

const isIn = ({ share, shares }: Known, digest: number): boolean => shares === 1 || digest % shares === share

/** Whether who asks wants no answer from the one with this digest. */
export const isUnwanted = (known: Known, digest: number): boolean =>
  !isIn(known, digest) || known.digests.includes(digest)

/** The list of a share, of all that are known. A share that is larger than a list is not told whole, and some answer in vain. */
export const make = (digests: Iterable<number>, shares: number, share: number): Known => {
  const own: Array<number> = []
  const whole = { shares, share, digests: own }
  for (const digest of digests) {
    if (own.length === most) break
    if (isIn(whole, digest)) own.push(digest)
  }
  return whole
}

/** The texts of its TXT record. */
export const encode = ({ digests, share, shares }: Known): ReadonlyArray<Uint8Array> => {
  const bytes = new Uint8Array(headerBytes + 4 * digests.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = form
  view.setUint16(1, shares)
  view.setUint16(3, share)
  for (const [i, digest] of digests.entries()) view.setUint32(headerBytes + 4 * i, digest)
  const texts: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += maxText) texts.push(bytes.subarray(at, at + maxText))
  return texts
}

/** Reads the texts; undefined if they are no such list. The size of the packet bounds it. */
export const decode = (texts: ReadonlyArray<Uint8Array>): Known | undefined => {
  const bytes = new Uint8Array(texts.reduce((size, text) => size + text.length, 0))
  let size = 0
  for (const text of texts) {
    bytes.set(text, size)
    size += text.length
  }
  if (bytes.length < headerBytes || bytes[0] !== form || (bytes.length - headerBytes) % 4 !== 0) return undefined
  const view = new DataView(bytes.buffer)
  const shares = view.getUint16(1)
  const share = view.getUint16(3)
  if (shares === 0 || share >= shares) return undefined
  const digests: Array<number> = []
  for (let at = headerBytes; at < bytes.length; at += 4) digests.push(view.getUint32(at))
  return { shares, share, digests }
}
