/**
 * Somebody who listens on the wire of a simulated network, and knows what to
 * listen for: the peers that are there, their addresses and services, and the
 * words of the protocols. What is cut between two pieces of a stream is missed.
 */
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { SimHost } from "../../layers/simulation/net/SimNetwork.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"

interface Word {
  /** What it gives away. */
  readonly what: string
  readonly bytes: Buffer
}

const said = (what: string, text: string): Word => ({ what, bytes: Buffer.from(text) })
const meant = (what: string, bytes: Uint8Array): Word => ({ what, bytes: Buffer.from(bytes) })

/** What libp2p is known by. In DNS a label follows its length. */
const common: ReadonlyArray<Word> = [
  said("that it is libp2p", "libp2p"),
  said("its service", "\u0004_p2p\u0004_udp"),
  said("its service", "_p2p-"),
  said("that a peer is told of", "dnsaddr="),
  said("its protocols", "/multistream"),
  said("its protocols", "/noise"),
  said("its protocols", "/yamux"),
  said("its protocols", "/ipfs/")
]

/** What gives a node away. */
const wordsOf = <R>({ host, info, peerId }: SimNode<R>): ReadonlyArray<Word> => [
  said(`the id of ${info.name}`, peerId.toString()),
  // The key that the id is made of, without what is before it.
  meant(`the id of ${info.name}`, peerId.bytes.subarray(-32)),
  ...host.addresses.flatMap((address) => {
    const { bytes } = Multiaddr.fromStringUnsafe(`/ip4/${address}/tcp/4001`)
    const ip = bytes.subarray(1, 5)
    return [
      said(`the address of ${info.name}`, `/ip4/${address}/`),
      meant(`the address of ${info.name}`, bytes),
      // As a record of DNS has it, after its length.
      meant(`the address of ${info.name}`, Bytes.concat([Uint8Array.of(0, 4), ip]))
    ]
  })
]

export class Wiretap {
  /** Bytes that were heard of each host. */
  readonly bytes = new Map<string, number>()
  private readonly heard = new Map<string, Set<string>>()
  private readonly words: ReadonlyArray<Word>

  /** `secrets` are texts that nobody should say. */
  constructor(nodes: ReadonlyArray<SimNode<never>>, secrets: ReadonlyArray<string>) {
    this.words = [
      ...common,
      ...secrets.map((text) => said(`the word ${text}`, text)),
      ...nodes.flatMap((node) => wordsOf(node))
    ]
  }

  /** What a host puts on the wire. */
  readonly hear = ({ name }: SimHost, bytes: Uint8Array): void => {
    this.bytes.set(name, (this.bytes.get(name) ?? 0) + bytes.length)
    const packet = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    for (const { bytes: word, what } of this.words) {
      if (!packet.includes(word)) continue
      this.heard.set(name, (this.heard.get(name) ?? new Set()).add(what))
    }
  }

  /** What a node has given away. */
  of({ host }: SimNode<never>): ReadonlySet<string> {
    return this.heard.get(host.name) ?? new Set()
  }
}
