import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { placeOf } from '../../vault/vault.ts'
import { lockUser } from '../accounts/lock.ts'
import { mailUser, originOf } from '../mailbox/notices.ts'
import { securityChanged, tellOwner } from '../mailbox/security-notices.ts'
import { cancelRecovery } from './recoveries.ts'
import { recoveryCodesLeft, replaceRecoveryCodes, takeRecoveryCode } from './recovery-codes.ts'
import { acceptedStep, newTotpSecret } from './totp.ts'

/**
 * Second factors: an authenticator's codes, and recovery codes for when it is lost. A code is
 * accepted once: the row of the factor is locked while it is looked at, and the time step of an
 * authenticator's code must be later than that of the last one.
 *
 * Locks are taken in this order: the user's row, the factor's, everything else.
 */

type AnyContext = WriteContext<Caller | null>

/** How long a new secret waits for its first code. */
const SETUP_MS = 15 * 60_000

/** Whether somebody has to show a second factor. */
export async function hasSecondFactor(sql: SQL, userId: string): Promise<boolean> {
  const rows = await sql`
    select from second_factors where user_id = ${userId} and enabled_at is not null`
  return rows.length > 0
}

interface Factor {
  readonly secret: Uint8Array | null
  readonly enabled_at: Date | null
  readonly last_step: number | null
  readonly pending_secret: Uint8Array | null
  readonly pending_session_id: string | null
  readonly pending_until: Date | null
}

async function lockFactor(sql: SQL, userId: string): Promise<Factor | undefined> {
  const [factor] = (await sql`
    select secret, enabled_at, last_step::int as last_step, pending_secret, pending_session_id,
      pending_until
    from second_factors where user_id = ${userId} for update`) as Factor[]
  return factor
}

const secretPlace = (userId: string) => placeOf('second_factors', 'secret', userId)
const pendingPlace = (userId: string) => placeOf('second_factors', 'pending_secret', userId)

/** The refusal where there is no second factor to show. */
export const noSecondFactor = () => new Failure('mfa_required', 'No second factor is set up')

const wrongCode = () => new Failure('invalid_code', 'Wrong or used code')

/**
 * Uses a code up: one of the authenticator, or a recovery code. Whoever has either has not lost
 * both, so that an open recovery ends.
 * @throws Failure `invalid_code` | `mfa_required` (there is no second factor)
 */
export async function useFactor(ctx: AnyContext, userId: string, typed: string): Promise<void> {
  const factor = await lockFactor(ctx.tx.sql, userId)
  if (factor === undefined || factor.enabled_at === null) throw noSecondFactor()
  if (!(await acceptCode(ctx, userId, factor, typed))) throw refuseCode(ctx, userId)
  await cancelRecovery(ctx, userId, 'factor_shown')
}

/** The refusal of a code, which the audit log keeps. */
function refuseCode(ctx: AnyContext, userId: string): Failure {
  ctx.auditRefusal({
    action: 'auth.mfa_code_refused',
    outcome: 'failure',
    target: { type: 'user', id: userId },
  })
  return wrongCode()
}

const TOTP_CODE = /^\d{6}$/

async function acceptCode(
  ctx: AnyContext,
  userId: string,
  { secret, last_step }: Factor,
  typed: string,
): Promise<boolean> {
  const { kernel, clock, tx } = ctx
  const code = typed.replaceAll(/[\s-]/g, '')
  if (TOTP_CODE.test(code)) {
    if (secret === null) return false
    const opened = kernel.vault.open(secretPlace(userId), secret)
    const step = acceptedStep(opened, code, clock.now(), last_step)
    if (step === undefined) return false
    await tx.sql`update second_factors set last_step = ${step} where user_id = ${userId}`
    return true
  }
  if (!(await takeRecoveryCode(tx.sql, clock, userId, code))) return false
  await noticeRecoveryCode(ctx, userId)
  return true
}

async function noticeRecoveryCode(ctx: AnyContext, userId: string): Promise<void> {
  const left = await recoveryCodesLeft(ctx.tx.sql, userId)
  const origin = originOf(ctx)
  ctx.audit({
    action: 'auth.recovery_code_used',
    target: { type: 'user', id: userId },
    actorId: userId,
    after: { codes_left: left },
  })
  const { device, address } = origin
  tellOwner(ctx, userId, 'recovery_code_used', { device, address, recovery_codes_left: left })
  const data = { ...origin, codes_left: left }
  await mailUser(ctx, userId, 'recovery_code_used', data, { everyAddress: true })
}

/** A secret that waits for its first code. */
export interface PendingFactor {
  readonly secret: Uint8Array
  readonly expiresAt: Date
}

/** Makes a new secret for the actor; it replaces one that was not confirmed. */
export async function beginSetup({
  kernel,
  tx,
  clock,
  actor,
}: WriteContext): Promise<PendingFactor> {
  const { userId, sessionId } = actor
  const secret = newTotpSecret()
  const sealed = kernel.vault.seal(pendingPlace(userId), secret)
  const expiresAt = new Date(clock.now() + SETUP_MS)
  await tx.sql`
    insert into second_factors (user_id, pending_secret, pending_session_id, pending_until)
    values (${userId}, ${sealed}, ${sessionId}, ${expiresAt})
    on conflict (user_id) do update set pending_secret = excluded.pending_secret,
      pending_session_id = excluded.pending_session_id, pending_until = excluded.pending_until`
  return { secret, expiresAt }
}

/** What a right code without a challenge has done. */
export type CodeShown =
  | { readonly enabled: true; readonly recoveryCodes: string[] }
  | { readonly enabled: false }

/**
 * Takes a code of the actor: the first one of a new authenticator enables that, one of the factor
 * that they have is shown for the session.
 * @throws Failure `invalid_code` | `mfa_required` (there is neither)
 */
export async function showCode(ctx: WriteContext, typed: string): Promise<CodeShown> {
  const { actor, tx, clock } = ctx
  const { userId, sessionId } = actor
  if ((await lockUser(tx.sql, userId)) === undefined) throw new Failure('not_found')
  const factor = await lockFactor(tx.sql, userId)
  const pending = pendingOf(ctx, factor)
  if (factor === undefined || (factor.enabled_at === null && pending === undefined)) {
    throw noSecondFactor()
  }
  const code = typed.replaceAll(/[\s-]/g, '')
  const step = pending === undefined ? undefined : acceptedStep(pending, code, clock.now(), null)
  if (pending !== undefined && step !== undefined) {
    const replaced = factor.enabled_at !== null
    const recoveryCodes = await enableFactor(ctx, pending, step, replaced)
    return { enabled: true, recoveryCodes }
  }
  if (factor.enabled_at === null) throw refuseCode(ctx, userId)
  await useFactor(ctx, userId, typed)
  await tx.sql`update sessions set mfa_at = ${clock.date()} where id = ${sessionId}`
  ctx.audit({ action: 'auth.mfa_shown', target: { type: 'session', id: sessionId } })
  return { enabled: false }
}

/** The secret that this session has begun to set up. */
function pendingOf(
  { kernel, clock, actor }: WriteContext,
  factor: Factor | undefined,
): Uint8Array | undefined {
  if (factor?.pending_secret == null || factor.pending_until === null) return undefined
  if (factor.pending_session_id !== actor.sessionId) return undefined
  if (clock.now() >= factor.pending_until.getTime()) return undefined
  return kernel.vault.open(pendingPlace(actor.userId), factor.pending_secret)
}

/** @returns the recovery codes */
async function enableFactor(
  ctx: WriteContext,
  secret: Uint8Array,
  step: number,
  replaced: boolean,
): Promise<string[]> {
  const { kernel, tx, clock, actor } = ctx
  const { userId, sessionId } = actor
  await tx.sql`
    update second_factors set secret = ${kernel.vault.seal(secretPlace(userId), secret)},
      enabled_at = ${clock.date()}, last_step = ${step},
      pending_secret = null, pending_session_id = null, pending_until = null
    where user_id = ${userId}`
  const codes = await replaceRecoveryCodes(tx.sql, userId)
  await tx.sql`update sessions set mfa_at = ${clock.date()} where id = ${sessionId}`
  await forgetStepUps(tx.sql, userId)
  await cancelRecovery(ctx, userId, 'factor_shown')
  const ended = await securityChanged(ctx, userId, sessionId)
  ctx.audit({
    action: replaced ? 'auth.mfa_replaced' : 'auth.mfa_enabled',
    target: { type: 'user', id: userId },
    after: { sessions_ended: ended },
  })
  const origin = originOf(ctx)
  tellOwner(ctx, userId, 'mfa_enabled', { device: origin.device, address: origin.address })
  await mailUser(ctx, userId, 'mfa_enabled', origin, { everyAddress: true })
  return codes
}

/**
 * Replaces the actor's recovery codes. Whether they may is the caller's to ask.
 * @throws Failure `mfa_required`
 */
export async function renewRecoveryCodes(ctx: WriteContext): Promise<string[]> {
  const { tx, actor } = ctx
  const { userId } = actor
  const factor = await lockFactor(tx.sql, userId)
  if (factor === undefined || factor.enabled_at === null) throw noSecondFactor()
  const codes = await replaceRecoveryCodes(tx.sql, userId)
  ctx.audit({
    action: 'auth.recovery_codes_replaced',
    target: { type: 'user', id: userId },
    after: { codes: codes.length },
  })
  const { device, address } = originOf(ctx)
  tellOwner(ctx, userId, 'recovery_codes_replaced', { device, address })
  return codes
}

/**
 * Takes a user's second factor away, with everything that hangs on it; the sessions end, except the
 * one given. Whether that may be is the caller's to ask, and the user's row must be locked.
 * @returns how many sessions have ended
 */
export async function removeFactor(
  ctx: AnyContext,
  userId: string,
  exceptSessionId?: string,
): Promise<number> {
  const { sql } = ctx.tx
  await lockFactor(sql, userId)
  await eraseFactor(sql, userId)
  await sql`update sessions set mfa_at = null where user_id = ${userId}`
  return await securityChanged(ctx, userId, exceptSessionId)
}

/** Deletes everything of a second factor. */
export async function eraseFactor(sql: SQL, userId: string): Promise<void> {
  await sql`delete from second_factors where user_id = ${userId}`
  await sql`delete from recovery_codes where user_id = ${userId}`
  await forgetStepUps(sql, userId)
}

async function forgetStepUps(sql: SQL, userId: string): Promise<void> {
  await sql`
    delete from step_ups where session_id in (select id from sessions where user_id = ${userId})`
}

/** What a user may know of their second factor. */
export interface FactorStatus {
  readonly enabledAt: Date | undefined
  readonly recoveryCodesLeft: number
}

/** Reads it. */
export async function factorStatus(sql: SQL, userId: string): Promise<FactorStatus> {
  const [row] = (await sql`
    select enabled_at from second_factors
    where user_id = ${userId} and enabled_at is not null`) as { enabled_at: Date }[]
  return {
    enabledAt: row?.enabled_at,
    recoveryCodesLeft: row === undefined ? 0 : await recoveryCodesLeft(sql, userId),
  }
}
