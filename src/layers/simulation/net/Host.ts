/** A host of the simulated network: its addresses, its links, and the stack of its present boot. */
import * as Layer from "effect/Layer"
import { Net } from "../../../services/Net.ts"
import { familyOf, isLoopback } from "./Address.ts"
import type { Fabric } from "./Fabric.ts"
import type { FlightEnd } from "./Flight.ts"
import * as HostNet from "./HostNet.ts"
import { type Path, type PathEnd, Rate, type Waiter } from "./Link.ts"
import type { Firewall, NatBox } from "./Nat.ts"
import { Stack } from "./Stack.ts"

export interface HostOptions {
  readonly name: string
  /** Its addresses; private ones if it is behind a NAT. Loopback comes by itself. */
  readonly addresses: ReadonlyArray<string>
  /** Puts what the node does into its turn; tasks of a paused node wait there. */
  readonly schedule: (task: () => void) => void
  readonly behind?: NatBox | undefined
  /** Default: none. */
  readonly firewall?: Firewall | undefined
  /** What all its connections together can send; shared, unlike the bandwidth of a link. */
  readonly upBitsPerSecond?: number | undefined
  /** What all its connections together can receive. */
  readonly downBitsPerSecond?: number | undefined
}

/** A host that takes data off its sockets slowly. */
export interface SlowReads {
  readonly bytesPerSecond: number
  readonly rate: Rate
  readonly waiting: Set<FlightEnd>
}

export class SimHost implements PathEnd {
  readonly name: string
  readonly schedule: (task: () => void) => void
  readonly behind: NatBox | undefined
  readonly firewall: Firewall
  readonly uplink: Rate | undefined
  readonly downlink: Rate | undefined
  /** The links from here, once used. */
  readonly paths = new Map<SimHost, Path>()
  /** Those whose packets found nobody here. */
  readonly waiting = new Set<Waiter>()
  slow: SlowReads | undefined
  private readonly fabric: Fabric
  private current: ReadonlyArray<string>
  private present: Stack
  private service: Net["Service"]

  constructor(fabric: Fabric, options: HostOptions) {
    this.fabric = fabric
    this.name = options.name
    this.schedule = options.schedule
    this.behind = options.behind
    this.firewall = options.firewall ?? "none"
    this.uplink = options.upBitsPerSecond === undefined ? undefined : new Rate(options.upBitsPerSecond)
    this.downlink = options.downBitsPerSecond === undefined ? undefined : new Rate(options.downBitsPerSecond)
    this.current = [...options.addresses]
    this.present = new Stack(fabric, this)
    this.service = HostNet.make(this.present)
    if (this.behind === undefined) fabric.announce(this, this.current)
    else this.behind.hosts.push(this)
  }

  /** False between a crash and the next boot. */
  get up(): boolean {
    return this.present.alive
  }

  /** The Net of the present boot. That of an earlier one answers with errors only. */
  get net(): Net["Service"] {
    return this.service
  }

  /** The Net of the boot at the time that the layer is built. */
  get layer(): Layer.Layer<Net> {
    return Layer.sync(Net, () => this.service)
  }

  get stack(): Stack {
    return this.present
  }

  get addresses(): ReadonlyArray<string> {
    return this.current
  }

  owns(host: string): boolean {
    return isLoopback(host) || this.current.includes(host)
  }

  /** Where something sent to `host` leaves from. */
  sourceFor(host: string): string | undefined {
    return this.owns(host) ? host : this.current.find((address) => familyOf(address) === familyOf(host))
  }

  /**
   * Interfaces come, go and change their address. Connections of an address
   * that went away fail at this end at once; their other ends are left in
   * silence, as when a cable is pulled.
   */
  setAddresses(addresses: ReadonlyArray<string>): void {
    const before = this.current
    this.current = [...addresses]
    if (this.behind === undefined) {
      this.fabric.withdraw(
        this,
        before.filter((address) => !addresses.includes(address))
      )
      this.fabric.announce(this, this.current)
    }
    this.fabric.note(this.name, "net.addresses", this.current.join(" "))
    this.present.addressesChanged()
    this.wakeWaiting()
  }

  /** All sockets vanish without a word. What arrives later finds nobody until the next boot, and is reset after it. */
  crash(): void {
    if (this.up) this.present.crash()
  }

  /** A fresh boot, after a crash: nothing of the last one is left. */
  boot(): void {
    if (this.up) return
    this.present = new Stack(this.fabric, this)
    this.service = HostNet.make(this.present)
    this.wakeWaiting()
  }

  private wakeWaiting(): void {
    if (this.waiting.size === 0) return
    const waiting = [...this.waiting]
    this.waiting.clear()
    for (const waiter of waiting) waiter.opened(undefined)
  }
}
