import { t, Uuid } from '../base/schema.ts'
import { serviceEvent } from '../kernel/service-event.ts'

/** What services are told of API keys: for who watches over them. */

export const apiKeyCreated = serviceEvent('api_key.created', {
  description: 'An administrator has made an API key',
  data: t.Object({ key_id: Uuid, scopes: t.Array(t.String()) }),
})
export const apiKeyRevoked = serviceEvent('api_key.revoked', {
  description: 'An administrator has ended an API key',
  data: t.Object({ key_id: Uuid }),
})
