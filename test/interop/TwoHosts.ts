/** Two hosts on one local network: network namespaces on a bridge, or this host where those cannot be made. */
import { spawnSync } from "node:child_process"
import process from "node:process"

const ip = (...words: ReadonlyArray<string>): boolean =>
  spawnSync("ip", words, { stdio: ["ignore", "ignore", "ignore"] }).status === 0

export interface Host {
  readonly name: string
  /** What comes before a command that runs there. */
  readonly prefix: ReadonlyArray<string>
}

export interface TwoHosts {
  /** For people: what the network is. */
  readonly about: string
  /** True when packets really leave one host for the other. */
  readonly real: boolean
  readonly hosts: readonly [Host, Host]
  readonly remove: () => void
}

/** Leaves nothing behind when it fails. */
export const make = (): TwoHosts => {
  const name = (end: string) => `lan-${process.pid}-${end}`
  const bridge = name("bridge")
  const hosts = [name("a"), name("b")] as const
  const remove = () => {
    for (const one of [bridge, ...hosts]) ip("netns", "del", one)
  }
  const inBridge = (...words: ReadonlyArray<string>) => ip("netns", "exec", bridge, "ip", ...words)
  const plugged = (host: string, index: number): boolean => {
    const inHost = (...words: ReadonlyArray<string>) => ip("netns", "exec", host, "ip", ...words)
    const port = `port${index}`
    return (
      ip("netns", "add", host) &&
      ip("link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", port, "netns", bridge) &&
      inBridge("link", "set", port, "master", "br0", "up") &&
      inHost("addr", "add", `10.77.0.${index}/24`, "dev", "eth0") &&
      inHost("link", "set", "lo", "up") &&
      inHost("link", "set", "eth0", "up") &&
      // Where there is no route to everywhere, js-libp2p sends nothing.
      inHost("route", "add", "default", "dev", "eth0")
    )
  }
  const made =
    ip("netns", "add", bridge) &&
    inBridge("link", "add", "br0", "type", "bridge") &&
    inBridge("link", "set", "br0", "up") &&
    hosts.every((host, index) => plugged(host, index + 1))
  if (!made) {
    remove()
    const here: Host = { name: "this host", prefix: [] }
    return {
      about: "one host: network namespaces cannot be made here (Debian's iproute2, and root)",
      real: false,
      hosts: [here, here],
      remove: () => {}
    }
  }
  const [a, b] = hosts.map((host) => ({ name: host, prefix: ["ip", "netns", "exec", host] }))
  if (a === undefined || b === undefined) throw new Error("two hosts were made")
  return { about: "two hosts on a bridge, in network namespaces", real: true, hosts: [a, b], remove }
}
