import { createHash } from 'node:crypto'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { openPayouts } from '../drivers/payout/index.ts'
import type { WriteContext } from '../kernel/context.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { againstApproval, alarm } from './approval.ts'
import { step } from './steps.ts'
import {
  findFile,
  insertFile,
  listPrepared,
  lockApproved,
  markDelivered,
  type PayoutRow,
  payoutsOf,
} from './store.ts'

/**
 * Orders to the bank: what is approved is ordered together. An order is stored with its bytes first
 * (and its payouts are `processing`), then handed over, then noted as handed over. After a crash in
 * between, the other side is asked whether it has it; it is never made anew.
 *
 * What is paid is what was approved: each payout is compared with that before it is ordered, and
 * the bytes of an order once more before they are handed over.
 */

/** Payouts in one order: what a person can still look through. */
const PAYOUTS_MAX = 500

/** The bank's side of a server. */
export const Bank = service('payout bank', ({ config }) => openPayouts(config))

const compact = (id: string) => id.replaceAll('-', '')

/** The bytes of an order: of the same payouts the same. */
function render(
  { driver, debtor }: ReturnType<typeof openPayouts>,
  order: { readonly messageId: string; readonly createdAt: Date },
  rows: readonly PayoutRow[],
): Uint8Array {
  return driver.render({
    ...order,
    debtor,
    payments: rows.map((row) => ({
      endToEndId: compact(row.id),
      cents: row.amount,
      name: row.name,
      iban: row.iban,
      text: `Payout ${row.id}`,
    })),
  })
}

/**
 * Makes an order of what is approved, in the caller's transaction, and hands it over after that.
 * @returns its id
 * @throws Failure `conflict` when nothing is approved, or what waits is something else than that
 */
export async function makeOrder(ctx: WriteContext): Promise<string> {
  const { kernel, tx, clock, actor, afterCommit } = ctx
  const found = await lockApproved(tx.sql, PAYOUTS_MAX)
  if (found.length === 0) throw new Failure('conflict', 'No payout is approved and waiting')
  const { agreed: rows, tampered } = await againstApproval(kernel, tx.sql, found, { held: true })
  alarm(ctx, tampered, rows.length > 0 ? ctx.audit : ctx.auditRefusal)
  if (rows.length === 0) {
    throw new Failure('conflict', 'What waits is not what was approved: somebody has to look')
  }
  const id = uuidv7(clock.now())
  const messageId = compact(id)
  const createdAt = clock.date()
  const content = render(kernel.use(Bank), { messageId, createdAt }, rows)
  await insertFile(tx.sql, {
    id,
    messageId,
    count: rows.length,
    controlSum: rows.reduce((sum, { amount }) => sum + amount, 0n),
    sha256: createHash('sha256').update(content).digest(),
    content,
    createdBy: actor.userId,
    createdAt,
  })
  ctx.audit({
    action: 'payouts.order_made',
    target: { type: 'payout_file', id },
    after: { count: rows.length, sha256: createHash('sha256').update(content).digest('hex') },
  })
  await step(ctx, rows, 'processing', { fileId: id })
  afterCommit(() => {
    deliver(kernel, id).catch((error: unknown) => {
      kernel.log.error('payout order not handed over; it will be asked about', { id, error })
    })
  })
  return id
}

/**
 * Makes sure that an order is with the bank's side: asks first, and hands the stored bytes over
 * when it is not there. Safe to run twice, also at the same time.
 * @throws PayoutConflict when there is another order under its id: somebody has to look
 * @throws Error when its bytes are not those of approved payouts: somebody has to look
 */
export async function deliver(kernel: Kernel, id: string): Promise<void> {
  const { db, clock } = kernel
  const { driver } = kernel.use(Bank)
  const file = await db.read((sql) => findFile(sql, id))
  if (file === undefined || file.state === 'delivered') return
  const found = await driver.find(file.messageId)
  const known = found?.sha256.equals(file.sha256) === true ? found : undefined
  if (known === undefined) await checkContent(kernel, file)
  const { name } = known ?? (await driver.submit(file.messageId, file.content))
  await db.read((sql) => markDelivered(sql, clock.date(), id, name))
}

/**
 * Nothing is handed over on the word of its own row: the bytes must be those of the payouts in it,
 * and these what was agreed to.
 */
async function checkContent(
  kernel: Kernel,
  { id, messageId, createdAt, content }: NonNullable<Awaited<ReturnType<typeof findFile>>>,
): Promise<void> {
  const { agreed, tampered } = await kernel.db.read(async (sql) => {
    return await againstApproval(kernel, sql, await payoutsOf(sql, id), { held: false })
  })
  if (tampered.length === 0 && agreed.length > 0 && messageId === compact(id)) {
    if (content.equals(render(kernel.use(Bank), { messageId, createdAt }, agreed))) return
  }
  throw new Error(
    'the order is not what was approved, or was made for another account of ours: it is kept back',
  )
}

/** Looks after every order of which nobody knows whether it was handed over. */
export async function deliverAll(
  kernel: Kernel,
  signal?: AbortSignal,
): Promise<{ orders_delivered: number; orders_failed: number }> {
  let [delivered, failed] = [0, 0]
  for (const id of await kernel.db.read(listPrepared)) {
    signal?.throwIfAborted()
    try {
      await deliver(kernel, id)
      delivered++
    } catch (error) {
      failed++
      kernel.log.error('payout order not handed over', { id, error })
    }
  }
  return { orders_delivered: delivered, orders_failed: failed }
}
