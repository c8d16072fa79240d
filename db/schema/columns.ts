import { customType, numeric, timestamp } from 'drizzle-orm/pg-core'

/** Raw bytes. */
export const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({
  dataType: () => 'bytea',
})

/** A transaction id that never wraps; rows carry it where readers must not miss late commits. */
export const xid8 = customType<{ data: string; driverData: string }>({ dataType: () => 'xid8' })

/** A moment, milliseconds precise as everything that clients see. */
export const moment = (name: string) =>
  timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })

/** Money in minor units of its asset; wei need more than 64 bits. */
export const amount = (name: string) => numeric(name, { precision: 78, scale: 0, mode: 'bigint' })
