/**
 * A worker in a process of its own, to be killed, stopped and continued: takes the URL of the
 * database as the server sees it and a way of working, says `{"ready":true}`, then `{"begun":text}`
 * for each job that asks for it, and works until it is ended.
 */
import { openDatabase } from '../../db/client.ts'
import { startWorker } from '../../jobs/worker.ts'
import { systemClock } from '../../src/base/clock.ts'
import { testKernel } from './kernel.ts'
import { labour, LEASE_MS, type Way, workNaively } from './labour.ts'

const [url, way] = process.argv.slice(2) as [string, Way]
const say = (value: unknown) => void process.stdout.write(`${JSON.stringify(value)}\n`)
const db = openDatabase({ url, clock: systemClock })
const database = { url, ownerUrl: url, db, drop: () => Promise.resolve() }
const { kernel } = await testKernel({ features: [labour(say)], database })
if (way === 'worker') await startWorker(kernel, { leaseMs: LEASE_MS })
else workNaively(db, way)
say({ ready: true })
// A worker's timers do not keep a process alive: a server's sockets do.
setInterval(() => undefined, 60_000)
