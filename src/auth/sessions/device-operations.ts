import { input, page, pageFields, t, Uuid } from '../../base/schema.ts'
import { user } from '../../kernel/access.ts'
import { operation } from '../../kernel/operation.ts'
import { Device } from '../shapes.ts'
import { forgetDevice, listDevices } from './devices.ts'

/** One's own known devices. */

export const list = operation('auth.devices', {
  summary: 'Devices that one has signed in from, the newest first',
  rest: 'GET /auth/devices',
  access: user(),
  limit: 'read',
  input: input(pageFields),
  output: page(Device),
  run: ({ kernel, actor }, { limit = 50, cursor }) => listDevices(kernel, actor, limit, cursor),
})

export const forget = operation('auth.devices.forget', {
  summary: "Forget one of one's own devices and end its sessions",
  rest: 'DELETE /auth/devices/:device_id',
  access: user(),
  limit: 'write',
  input: input({ device_id: Uuid }),
  output: t.Object({
    device_id: Uuid,
    sessions_ended: t.Integer({ description: 'Sessions of the device that this has ended' }),
  }),
  async handler(ctx, { device_id }) {
    return { device_id, sessions_ended: await forgetDevice(ctx, device_id) }
  },
})
