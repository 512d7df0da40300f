/**
 * Budget: how much of something useless a remote may ask for. So much at once,
 * and so much a second in the long run; what was useful may earn some back.
 */
export class Budget {
  private readonly burst: number
  private readonly perMs: number
  private left: number
  private at: number

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.burst = burst
    this.perMs = perSecond / 1000
    this.left = burst
    this.at = nowMs
  }

  /** False when nothing is left. */
  spend(nowMs: number): boolean {
    if (nowMs > this.at) {
      this.left = Math.min(this.burst, this.left + (nowMs - this.at) * this.perMs)
      this.at = nowMs
    }
    if (this.left < 1) return false
    this.left -= 1
    return true
  }

  /** Gives `amount` back, never beyond what may be spent at once. */
  earn(amount: number): void {
    this.left = Math.min(this.burst, this.left + amount)
  }
}
