import { describe, expect, test } from 'bun:test'
import { inspect } from 'node:util'
import { configFolder, HASH, SECRET } from './folder.ts'
import type { Env } from './folder.ts'

const { load } = configFolder()

describe('the result', () => {
  const full: Env = {
    DATABASE_URL: 'postgres://u:canary@h/x',
    REDIS_URL: 'redis://:canary@h',
    JWT_SECRET: `canary-${SECRET},second-${SECRET}`,
    MASTER_ENCRYPTION_KEY: Buffer.from('canary'.padEnd(32)).toString('base64'),
    ADMIN_USERNAME: 'admin',
    ADMIN_PASSWORD_HASH: HASH.replace('aGFzaA', 'canary'),
    PAYMENT_WEBHOOK_SECRET: 'canary-of-the-provider,second-of-the-provider',
    SMTP_HOST: 'h',
    SMTP_USER: 'a@b.c',
    SMTP_PASSWORD: 'canary',
    METRICS_TOKEN: 'canary-metrics-token',
  }

  test('shows no secret, however it is printed, copied or compared', () => {
    const config = load(full)
    expect(config.jwt.secrets[1]).toBe(`second-${SECRET}`)
    expect(config.payments!.webhookSecrets[1]).toBe('second-of-the-provider')
    const printed = [
      JSON.stringify(config),
      Bun.inspect(config, { depth: 9 }),
      inspect(config, { depth: 9 }),
      JSON.stringify({ ...config, jwt: { ...config.jwt } }),
      JSON.stringify(structuredClone({ ...config })),
      ...Object.values(config).map((value) => Bun.inspect(value)),
    ].join('\n')
    expect(printed).not.toContain('canary')
    expect(printed).not.toContain(SECRET)
    expect(printed).not.toContain('99, 97, 110, 97, 114, 121')
    expect(printed).toContain('admin')
  })

  test('cannot be changed, at any depth', () => {
    const config = load(full)
    const thaw = config as unknown as {
      port: number
      jwt: { secrets: string[] }
      payments: { webhookSecrets: string[] }
    }
    expect(() => (thaw.port = 1)).toThrow(TypeError)
    expect(() => thaw.jwt.secrets.push('x')).toThrow(TypeError)
    expect(() => (thaw.payments.webhookSecrets[0] = 'x')).toThrow(TypeError)
    expect(() => Object.assign(config, { redisUrl: 'x' })).toThrow(TypeError)
  })
})
