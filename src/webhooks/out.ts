import { openOutbound, type Outbound } from '../drivers/outbound/index.ts'
import { service } from '../kernel/kernel.ts'

/** The server's way out to the endpoints. */
export const Out = service<Outbound>('outbound', ({ config, clock }) => openOutbound(config, clock))
