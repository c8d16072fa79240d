/**
 * The `.env` of each system that this one takes the place of, as its README prints it, starts the
 * server: what no feature reads yet is said, whatever it says. Refused are only placeholders of
 * settings that are read.
 */

import { describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { freePort } from '../support/wait.ts'
import { configFolder, HASH, SECRET } from './folder.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
const UNREAD = 'these have no effect, no feature here reads them yet: '

interface Seed {
  readonly name: string
  /** Verbatim. */
  readonly block: string
  /** What its placeholders are replaced with, as their owner would: the server refuses them. */
  readonly filled: Record<string, string>
  /** The names that are said to have no effect. */
  readonly unread: readonly string[]
  readonly redis?: true
}

const seeds: readonly Seed[] = [
  {
    name: 'Kisse',
    // Its README has no block, but a list of these names, of which the first has a default.
    block: `
SERVER_ADDRESS=0.0.0.0:8080
DATABASE_URL=postgres://localhost/kisse
JWT_SECRET=${SECRET}
JWT_EXPIRATION=86400
RUST_LOG=debug
`,
    filled: {},
    unread: [],
  },
  {
    name: 'TechJam',
    block: `
# Server
NODE_ENV=development
PORT=3000
JOB_SERVER_PORT=3001

# JWT
JWT_SECRET=your-secret-key
JWT_EXPIRES_IN=7d

# MongoDB
MONGODB_URI=mongodb://localhost:27017/tiktok-techjam

# Redis
REDIS_URL=redis://localhost:6379

# Blockchain
RPC_URL=http://localhost:8545
CHAIN_ID=31337
PRIVATE_KEY=your-private-key

# Contracts
TK_CONTRACT_ADDRESS=0x...
TKI_CONTRACT_ADDRESS=0x...
REVENUE_CONTROLLER_ADDRESS=0x...
VALIDATOR_ADDRESS=0x...
`,
    filled: { JWT_SECRET: SECRET },
    unread: [
      'RPC_URL',
      'CHAIN_ID',
      'PRIVATE_KEY',
      'TK_CONTRACT_ADDRESS',
      'TKI_CONTRACT_ADDRESS',
      'REVENUE_CONTROLLER_ADDRESS',
      'VALIDATOR_ADDRESS',
    ],
    redis: true,
  },
  {
    name: 'Token4Good',
    block: `
DATABASE_URL=postgresql://postgres:[YOUR-PASSWORD]@db.PROJECT.supabase.co:5432/postgres
JWT_SECRET=your-secret-key
RGB_DATA_DIR=/tmp/rgb_data
LND_HOST=localhost
`,
    filled: { JWT_SECRET: SECRET },
    unread: ['RGB_DATA_DIR', 'LND_HOST'],
  },
  {
    name: 'Token4Good in production',
    block: `
RUST_LOG=info
DATABASE_URL=postgresql://postgres:[PASSWORD]@db.PROJECT.supabase.co:5432/postgres
JWT_SECRET=secure-random-secret
BITCOIN_NETWORK=mainnet  # ou testnet
LND_HOST=lnd-node
RGB_DATA_DIR=/data/rgb
`,
    filled: { JWT_SECRET: SECRET },
    unread: ['BITCOIN_NETWORK', 'LND_HOST', 'RGB_DATA_DIR'],
  },
  {
    name: 'TradingPool',
    block: `
# Application
NODE_ENV=development
PORT=3000
API_VERSION=v1

# Database
POSTGRES_HOST=localhost
POSTGRES_PORT=5432
POSTGRES_DB=trading_pool
POSTGRES_USER=pool_app
POSTGRES_PASSWORD=your_password

# Redis
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=your_redis_password

# JWT
JWT_ACCESS_SECRET=your_access_secret_256_bits
JWT_REFRESH_SECRET=your_refresh_secret_256_bits
JWT_ACCESS_EXPIRES=15m
JWT_REFRESH_EXPIRES=7d

# Encryption
MASTER_ENCRYPTION_KEY=your_aes_256_key

# Admin Credentials
ADMIN_USERNAME=sesshomaru
ADMIN_PASSWORD_HASH=$argon2id$v=19$m=65536,t=3,p=4$...

# Trading Module (Python)
TRADING_MODULE_URL=http://localhost:4000
TRADING_API_KEY=your_trading_api_key

# SMTP (Notifications)
SMTP_HOST=smtp.gmail.com
SMTP_PORT=587
SMTP_USER=notifications@votredomaine.com
SMTP_PASSWORD=your_smtp_password

# Monitoring
SENTRY_DSN=your_sentry_dsn
`,
    filled: {
      JWT_ACCESS_SECRET: SECRET,
      MASTER_ENCRYPTION_KEY: '00'.repeat(32),
      ADMIN_PASSWORD_HASH: HASH,
    },
    unread: ['TRADING_MODULE_URL', 'TRADING_API_KEY', 'SENTRY_DSN'],
    redis: true,
  },
  {
    name: 'Veza',
    block: `
# Serveur
PORT=8080
ENVIRONMENT=development

# Base de données
DATABASE_URL=postgres://user:password@localhost/veza_db
DB_HOST=localhost
DB_PORT=5432
DB_USERNAME=postgres
DB_PASSWORD=
DB_NAME=veza_db

# JWT
JWT_SECRET=your-super-secret-key
JWT_EXPIRATION=24h
`,
    filled: { JWT_SECRET: SECRET },
    unread: [],
  },
]

const folder = configFolder()

/** What must differ from the block on this machine, given as the process environment. */
function overridden({ redis, filled }: Seed, database: TestDatabase): Record<string, string> {
  return {
    // A free port of loopback: the block's may be taken.
    HOST: '127.0.0.1',
    PORT: '0',
    // The block's database is somebody's; a development machine may even have one there.
    DATABASE_URL: database.ownerUrl,
    // So may it have a Redis. Where there is none, the server starts without.
    ...(redis && { REDIS_URL: `redis://127.0.0.1:${freePort()}` }),
    ...filled,
  }
}

interface Entry {
  readonly level: string
  readonly message: string
  readonly api?: string
}

/** Starts the server with `.env` in its working directory, asks for its health, and ends it. */
async function run(env: Record<string, string>) {
  const child = Bun.spawn([process.execPath, '--no-env-file', MAIN], {
    cwd: folder.cwd,
    env: { PATH: process.env['PATH'], ...env },
    stderr: 'pipe',
  })
  const entries: Entry[] = []
  let text = ''
  let health: Promise<number> | undefined
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split('\n')
    text = lines.pop()!
    for (const line of lines.filter((one) => one.startsWith('{'))) {
      const entry = JSON.parse(line) as Entry
      entries.push(entry)
      if (entry.message !== 'rialto is up') continue
      const url = `${new URL(entry.api!).origin}/health`
      health = fetch(url).then(({ status }) => status)
      void health.finally(() => child.kill('SIGTERM'))
    }
  }
  const [code, errors] = await Promise.all([child.exited, child.stderr.text()])
  return { entries, code, errors, health: await health }
}

describe.each(seeds)('the .env of $name', (seed) => {
  const names = (problems: string[]) => problems.map((problem) => problem.split(' ')[0]!)

  test('is refused for nothing but placeholders of settings that are read', () => {
    writeFileSync(join(folder.cwd, '.env'), seed.block)
    expect(names(folder.problemsOf({}))).toEqual(Object.keys(seed.filled))
  })

  test('starts the server, which says once what it does not read yet', async () => {
    writeFileSync(join(folder.cwd, '.env'), seed.block)
    // Its own: a database belongs to the master key of the server that it was made by.
    const database = await testDatabase()
    const { entries, code, errors, health } = await run(overridden(seed, database))
    await database.drop()
    expect(errors).toBe('')
    expect(health).toBe(200)
    expect(code).toBe(0)
    const said = entries.filter(({ message }) => message.startsWith(UNREAD))
    expect(said.map(({ message }) => message)).toEqual(
      seed.unread.length === 0 ? [] : [UNREAD + seed.unread.join(', ')],
    )
    expect(said.every(({ level }) => level === 'warn')).toBe(true)
    for (const name of seed.unread) {
      expect(
        entries.filter(({ message }) => message.includes(name)),
        name,
      ).toHaveLength(1)
    }
  })
})
