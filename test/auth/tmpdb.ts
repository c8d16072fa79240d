import { openDatabase } from '../../db/client.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { SQL } from 'bun'

const base = 'postgres://app@127.0.0.1:54991'
export async function testDatabase() {
  const name = `t_${crypto.randomUUID().replaceAll('-', '')}`
  const admin = new SQL({ url: `${base}/postgres`, max: 1 })
  await admin.unsafe(`create database ${name}`)
  const ownerUrl = `${base}/${name}`
  const log = createLogger({ level: 'error', clock: systemClock })
  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log })
  const db = openDatabase({ url, clock: systemClock })
  return {
    url,
    ownerUrl,
    db,
    async drop() {
      await db.close()
      await admin.unsafe(`drop database ${name} with (force)`)
      await admin.unsafe(`drop role ${name}_server`)
      await admin.close()
    },
  }
}
