import type { Clock } from '../base/clock.ts'
import { addressGroup } from '../net/address.ts'

/** Where an address stands in its window. */
export interface QuotaState {
  readonly allowed: boolean
  /** Requests left in this window. */
  readonly remaining: number
  /** Until the window ends. */
  readonly resetMs: number
}

/** Counts the requests of those who are not signed in. */
export interface AddressQuota {
  readonly maxRequests: number
  readonly windowMs: number
  take(address: string): QuotaState
  /** Takes back the count of a request that turned out to have a right to be here. */
  giveBack(address: string): void
}

interface Window {
  endsAtMs: number
  used: number
}

/** Above this many addresses, those whose window is over are forgotten, then the oldest. */
const ADDRESSES_MAX = 100_000

/** A fixed window for each address (an IPv6 /64 is one), which begins with its first request. */
export function createAddressQuota(
  clock: Clock,
  { windowMs, maxRequests }: { windowMs: number; maxRequests: number },
): AddressQuota {
  const windows = new Map<string, Window>()
  return {
    maxRequests,
    windowMs,
    take(address) {
      const group = addressGroup(address)
      const nowMs = clock.monotonicMs()
      let window = windows.get(group)
      if (window === undefined || window.endsAtMs <= nowMs) {
        // Deleted first, so that the map stays in order of the windows' ends.
        windows.delete(group)
        if (windows.size >= ADDRESSES_MAX) forget(windows, nowMs)
        window = { endsAtMs: nowMs + windowMs, used: 0 }
        windows.set(group, window)
      }
      const allowed = window.used < maxRequests
      if (allowed) window.used++
      return { allowed, remaining: maxRequests - window.used, resetMs: window.endsAtMs - nowMs }
    },
    giveBack(address) {
      const window = windows.get(addressGroup(address))
      if (window !== undefined && window.used > 0) window.used--
    },
  }
}

function forget(windows: Map<string, Window>, nowMs: number): void {
  let surplus = windows.size - ADDRESSES_MAX * 0.9
  for (const [group, { endsAtMs }] of windows) {
    if (endsAtMs > nowMs && surplus <= 0) return
    windows.delete(group)
    surplus--
  }
}
