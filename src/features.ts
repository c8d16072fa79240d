import { queuesFeature } from '../jobs/admin/index.ts'
import { adminFeature } from './admin/index.ts'
import { apiKeysFeature } from './api-keys/index.ts'
import { auditFeature } from './audit/index.ts'
import { authFeature } from './auth/index.ts'
import { blocksFeature } from './blocks/index.ts'
import { fundingFeature } from './funding/index.ts'
import type { Feature } from './kernel/feature.ts'
import { ledgerFeature } from './ledger/index.ts'
import { mailFeature } from './mail/index.ts'
import { messagingFeature } from './messaging/index.ts'
import { payoutsFeature } from './payouts/index.ts'
import { privacyFeature } from './privacy/index.ts'
import { reportsFeature } from './reports/index.ts'
import { webhooksFeature } from './webhooks/index.ts'

/** The product on one page. */
export const features: readonly Feature[] = [
  adminFeature,
  auditFeature,
  authFeature,
  fundingFeature,
  ledgerFeature,
  mailFeature,
  messagingFeature,
  payoutsFeature,
  privacyFeature,
  queuesFeature,
  reportsFeature,
  blocksFeature,
  apiKeysFeature,
  webhooksFeature,
]
