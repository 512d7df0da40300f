/**
 * The entries of a block list. An address is looked up once for each length of
 * network that is in the list, so a list of many networks costs no more than
 * one of few.
 */
import { ipBytes, type Multiaddr } from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import * as Subnet from "../../../data/Subnet.ts"

interface Length {
  /** Of the address: 4 or 16 bytes. */
  readonly size: number
  readonly bits: number
  /** By text; true for those that are blocked, false for those that are allowed. */
  readonly networks: Map<string, boolean>
}

export class BlockEntries {
  private readonly peers = new Set<string>()
  /** The longest comes first: the smallest network decides. */
  private lengths: ReadonlyArray<Length> = []

  setPeer(peer: PeerId, blocked: boolean): void {
    if (blocked) this.peers.add(peer.toString())
    else this.peers.delete(peer.toString())
  }

  /** Blocks (`true`) or allows (`false`) a network, or takes its entry away. */
  setSubnet(subnet: Subnet.Subnet, blocked: boolean | undefined): void {
    const { bits } = subnet
    const size = subnet.bytes.length
    let length = this.lengths.find((one) => one.size === size && one.bits === bits)
    if (length === undefined) {
      if (blocked === undefined) return
      length = { size, bits, networks: new Map() }
      this.lengths = [...this.lengths, length].toSorted((a, b) => b.bits - a.bits)
    }
    if (blocked === undefined) length.networks.delete(Subnet.format(subnet))
    else length.networks.set(Subnet.format(subnet), blocked)
    if (length.networks.size === 0) this.lengths = this.lengths.filter((one) => one !== length)
  }

  /** Why it is blocked, in words; `undefined` when it is not. Addresses that are not of IP are not in any network. */
  reason(peer: PeerId | undefined, address: Multiaddr | undefined): string | undefined {
    if (peer !== undefined && this.peers.has(peer.toString())) return "the peer is blocked"
    const given = address === undefined || this.lengths.length === 0 ? undefined : ipBytes(address)
    if (given === undefined) return undefined
    const ip = Subnet.unmap(given)
    for (const { bits, networks, size } of this.lengths) {
      if (size !== ip.length) continue
      const text = Subnet.format(Subnet.of(ip, bits))
      const blocked = networks.get(text)
      if (blocked !== undefined) return blocked ? `${text} is blocked` : undefined
    }
    return undefined
  }

  list(): { readonly peers: ReadonlyArray<string>; readonly subnets: Array<string>; readonly allowed: Array<string> } {
    const subnets: Array<string> = []
    const allowed: Array<string> = []
    for (const { networks } of this.lengths) {
      for (const [text, blocked] of networks) (blocked ? subnets : allowed).push(text)
    }
    return { peers: [...this.peers], subnets, allowed }
  }
}
