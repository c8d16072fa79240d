import { authFeature } from './auth/index.ts'
import type { Feature } from './kernel/feature.ts'
import { messagingFeature } from './messaging/index.ts'

/** The product on one page. */
export const features: readonly Feature[] = [authFeature, messagingFeature]
