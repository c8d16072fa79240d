import { oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import {
  mailDomain,
  type Mailer,
  MailError,
  type MailTrouble,
  openMailer,
} from '../drivers/mail/index.ts'
import { internalRequest } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { service } from '../kernel/kernel.ts'
import { Hopeless, type PerformContext, queue, QueueCatalog } from '../kernel/queue.ts'
import { LETTER_NAMES, type LetterName, type Letters } from './letters.ts'
import { MailRecipients, mayReach } from './recipients.ts'
import { type Locale, renderLetter } from './render.ts'

/** A letter to somebody. */
export interface Letter<Name extends LetterName = LetterName> {
  readonly to: string
  readonly locale: Locale
  /** IANA name. */
  readonly timeZone: string
  readonly template: Name
  readonly data: Letters[Name]
  /** Whose account it is about. Nothing is sent any more once that is closed. */
  readonly userId?: string
}

const Payload = t.Object({
  to: t.String({ format: 'email' }),
  locale: oneOf(['en', 'fr']),
  time_zone: t.String(),
  template: oneOf(LETTER_NAMES as readonly [LetterName, ...LetterName[]]),
  data: t.Record(t.String(), t.Unknown()),
  user_id: t.Optional(Uuid),
  /** After this moment it is no use. */
  until: t.Optional(Timestamp),
})

/**
 * Letters on their way to the mail server. At least once: a server that has taken a letter and dies
 * before saying so gets it again, with the same Message-ID.
 */
export const mailQueue = queue('mail', {
  description: 'Mail on its way to the mail server',
  payload: Payload,
  // Links in it sign in.
  sealed: true,
  concurrency: 4,
  deadlineMs: 30_000,
  // Ten hours: greylisting takes minutes, a broken mail server a morning.
  triesMax: 18,
  backoffMs: 5_000,
  perform: (ctx, payload) => deliver(ctx, payload),
})

/**
 * Sends a letter, if the caller's transaction commits. Does nothing where `mail` is off.
 *
 * @example
 * sendMail(ctx, { to, locale: 'fr', timeZone: 'Europe/Paris', template: 'account_closed',
 *   data: { at: ctx.clock.iso() } })
 */
export function sendMail<Name extends LetterName>(
  ctx: Pick<WriteContext<never>, 'kernel' | 'enqueue'>,
  { to, locale, timeZone, template, data, userId }: Letter<Name>,
): void {
  if (!ctx.kernel.use(QueueCatalog).has(mailQueue.name)) return
  // RFC 2606: a placeholder, which no mailbox can have.
  if (to.endsWith('.invalid')) return
  const fields: object = data
  const until = 'link' in fields && 'expires_at' in fields ? String(fields.expires_at) : undefined
  ctx.enqueue(mailQueue, {
    to,
    locale,
    time_zone: timeZone,
    template,
    data: { ...data },
    ...(userId === undefined ? {} : { user_id: userId }),
    ...(until === undefined ? {} : { until }),
  } satisfies Static<typeof Payload>)
}

/** The mailer of a server. */
export const ServerMailer = service<Mailer>('mailer', ({ config, log }) => openMailer(config, log))

async function deliver(
  { kernel, job, signal }: PerformContext,
  letter: Static<typeof Payload>,
): Promise<void> {
  const { clock, config, db, metrics } = kernel
  const count = (outcome: 'sent' | 'dropped' | MailTrouble) =>
    metrics
      .counter('mails_total', 'Tries of letters by outcome', ['letter', 'outcome'])
      .labels({ letter: letter.template, outcome })
      .inc()
  const { to, user_id: userId, template, until } = letter
  const recipients = kernel.use(MailRecipients)
  const late = until !== undefined && Date.parse(until) <= clock.now()
  const reaches = (id: string) => db.read((sql) => mayReach(recipients, sql, template, id, to))
  if (late || (userId && !(await reaches(userId)))) {
    kernel.log.info('mail not sent: too late', { letter: template, job: job.id, late })
    count('dropped')
    return
  }
  const { locale, time_zone: timeZone } = letter
  const rendered = renderLetter(template, letter.data as unknown as Letters[typeof template], {
    locale,
    timeZone,
    publicUrl: config.publicUrl,
  })
  const messageId = `${job.id}@${mailDomain(config.publicUrl)}`
  const date = new Date(job.enqueuedAtMs)
  try {
    await kernel.use(ServerMailer).send({ to, ...rendered, messageId, date }, signal)
    count('sent')
  } catch (error) {
    if (!(error instanceof MailError)) throw error
    count(error.trouble)
    await giveUpOrRetry({ kernel, job, signal }, letter, error)
  }
}

/** @throws what makes the queue do the right thing: try later, or give up */
async function giveUpOrRetry(
  { kernel, job }: PerformContext,
  { template, to, user_id: userId }: Static<typeof Payload>,
  error: MailError,
): Promise<never> {
  const { clock, db, log } = kernel
  const fields = { letter: template, job: job.id, attempt: job.attempt, reason: error.message }
  switch (error.trouble) {
    case 'later':
      throw error
    case 'settings':
      // Nobody gets any mail until somebody does something.
      log.error('mail cannot be sent with these settings', fields)
      throw error
    case 'refused':
      log.error('the mail server refuses a mail', fields)
      throw new Hopeless(error.message, { cause: error })
    case 'address':
      log.warn('a mailbox takes no mail', fields)
      if (userId !== undefined) {
        const recipients = kernel.use(MailRecipients)
        await db.transaction(({ sql }) => recipients.markRefused(sql, clock, userId, to))
        await kernel.audit.record({
          action: 'mail.address_refused',
          outcome: 'failure',
          target: { type: 'user', id: userId },
          after: { letter: template },
          personal: { email: to, reply: error.message },
          caller: null,
          request: internalRequest(`job-${job.id}`),
        })
      }
      throw new Hopeless(error.message, { cause: error })
  }
}
