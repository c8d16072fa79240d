import { afterAll, beforeAll, expect, spyOn, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import type { WriteContext } from '../../src/kernel/context.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { auditTrail } from '../support/audit.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterAll(() => world.close())

const run = <T>(work: (ctx: WriteContext<null>) => Promise<T>) =>
  unitOfWork(world.kernel, { actor: null, request: internalRequest('test') }, work)
const actions = async (prefix: string) =>
  (await auditTrail(world, prefix)).map(({ action }) => action)

test('what commits is in the log, and its refusals are not', async () => {
  await run(async (ctx) => {
    ctx.audit({ action: 'good.done' })
    ctx.auditRefusal({ action: 'good.refused' })
  })
  expect(await actions('good.')).toEqual(['good.done'])
})

test('of what fails the refusals are in the log, and what was not done is not', async () => {
  const refused = run(async (ctx) => {
    ctx.audit({ action: 'bad.done' })
    ctx.auditRefusal({ action: 'bad.refused', outcome: 'denied' })
    throw new Failure('forbidden')
  })
  expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: 'forbidden' })
  expect(await actions('bad.')).toEqual(['bad.refused'])
})

test('a try that is run again counts once', async () => {
  let tries = 0
  const refused = run(async (ctx) => {
    ctx.auditRefusal({ action: 'again.refused' })
    tries++
    if (tries < 3) await ctx.tx.sql`do $$ begin raise exception sqlstate '40001'; end $$`
    throw new Failure('forbidden')
  })
  await refused.catch(() => undefined)
  expect(tries).toBe(3)
  expect(await actions('again.')).toEqual(['again.refused'])
})

test('a refusal that cannot be written down is answered all the same, and logged', async () => {
  const record = spyOn(world.kernel.audit, 'record').mockRejectedValue(new Error('no database'))
  try {
    const refused = run(async (ctx) => {
      ctx.auditRefusal({ action: 'lost.refused' })
      throw new Failure('forbidden')
    })
    expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: 'forbidden' })
  } finally {
    record.mockRestore()
  }
  expect(world.log.entries.at(-1)).toMatchObject({
    level: 'error',
    fields: { action: 'lost.refused' },
  })
})
