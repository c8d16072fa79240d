/**
 * One turn of `bun run bench:against`, in a process of its own: the workloads of one program on
 * the modules of one checkout. Arguments: program, peer, folder, seconds, database, data folder.
 */
import { audit } from './audit.ts'
import { ledger } from './ledger.ts'
import { queues } from './queue.ts'

const programs = { ledger, queue: queues, audit }

const [program = '', peer = '', folder = '', seconds, databaseUrl = '', dataDir = ''] =
  process.argv.slice(2)
await programs[program as keyof typeof programs]({
  peer,
  folder,
  seconds: Number(seconds),
  databaseUrl,
  dataDir,
})
process.exit(0)
