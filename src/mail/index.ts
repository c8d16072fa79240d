/**
 * Mail: the letters that this product writes, in the languages it speaks, and their way to the mail
 * server.
 *
 * - A letter is a job of the queue `mail`, written in the transaction of the act that it reports.
 * - What is in the queue is data, not text: it is rendered when it is sent. The payload is sealed,
 *   because it holds links that sign in.
 * - A link is not sent after its end, nor to an address that is no longer the account's.
 * - Whose address it is, mail asks of whoever keeps the accounts (`Recipients`); identity fills it.
 *
 * May import the kernel, the database and the mail driver; no other feature, and no edge.
 */

import { feature } from '../kernel/feature.ts'
import { mailQueue, ServerMailer } from './send.ts'

export { type Letter, mailQueue, sendMail } from './send.ts'
export type { LetterName, Letters, Origin } from './letters.ts'
export { MailRecipients, type Recipients } from './recipients.ts'

/** Mail, as `features.ts` mounts it. */
export const mailFeature = feature({
  name: 'mail',
  queues: [mailQueue],
  personalData: {
    kept: [
      'Letters to you that could not be delivered, encrypted, for 30 days: an administrator may ' +
        'have them sent again.',
    ],
  },
  start: (kernel) => Promise.resolve(() => kernel.use(ServerMailer).close()),
})
