import { test } from 'bun:test'
import { Client } from '/work/main/test/support/client.ts'
import { person, device, rest } from '/work/main/test/support/people.ts'
import { testServer } from '/work/main/test/support/server.ts'
test('x', async () => {
  const server = await testServer()
  const other = await testServer({ database: server.database })
  const alice = await person(server, 'alice'); const carol = await person(server, 'carol')
  const on = (w: any, at: any) => Client.connect(at.wsUrl, w.token)
  const c = await on(carol, other)
  const [a1, a2] = await Promise.all([on(alice, server), on(alice, other)])
  await a1.ask('message', { recipient_id: carol.id, message_type: 'text' })
  const t0 = performance.now()
  c.socket.addEventListener('message', ({data}) => console.log(Math.round(performance.now()-t0), String(data).slice(0,230)))
  await a1.ask('presence_update', { status: 'away' })
  await Bun.sleep(500)
  console.log(Math.round(performance.now()-t0), 'closing')
  await Promise.all([a1.close(), a2.close()])
  await Bun.sleep(12000)
  await c.close()
  await other.stop(); await server.stop()
}, 40000)
