import { authFeature } from './auth/index.ts'
import { fundingFeature } from './funding/index.ts'
import type { Feature } from './kernel/feature.ts'
import { ledgerFeature } from './ledger/index.ts'
import { messagingFeature } from './messaging/index.ts'
import { payoutsFeature } from './payouts/index.ts'

/** The product on one page. */
export const features: readonly Feature[] = [
  authFeature,
  fundingFeature,
  ledgerFeature,
  messagingFeature,
  payoutsFeature,
]
