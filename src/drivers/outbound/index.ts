/**
 * Requests that the server makes because somebody has asked to be told: they go to addresses that
 * others choose, and so this is where they are held to the public internet (`networks.ts`).
 *
 * May import the kernel and configuration.
 */

import type { Clock } from '../../base/clock.ts'
import type { Config } from '../../config.ts'
import { directOutbound } from './direct/directOutbound.ts'
import { systemNames } from './direct/names.ts'
import { createNetworks } from './networks.ts'
import type { Outbound } from './port.ts'

export type { Outbound, OutboundResult } from './port.ts'

/** The way out that the configuration allows. */
export function openOutbound(config: Config, clock: Clock): Outbound {
  const { production, webhooks } = config
  const networks = createNetworks({ opened: webhooks.allowedNetworks, production })
  return directOutbound({ clock, networks, resolve: systemNames })
}
