/** The settings of what the server talks to: the payment provider, the bank, the mail server. */

import { ibanOf } from '../../money/iban.ts'
import {
  InvalidValue,
  list,
  matching,
  pem,
  port,
  secretText,
  text,
  type ValueType,
} from '../values.ts'
import type { Variable } from './variable.ts'

const mailbox = matching(
  'mail address',
  /^(?:[^<>@\r\n]{0,100}<[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$/,
  'a mail address such as Rialto <no-reply@example.org>',
)
const iban: ValueType<string> = {
  label: 'IBAN',
  parse(input) {
    const found = ibanOf(input)
    if (found === undefined) throw new InvalidValue('is not an IBAN of the SEPA area')
    return found
  },
}

export const driversTable = {
  PAYMENT_WEBHOOK_SECRET: {
    group: 'Drivers',
    secret: true,
    type: list(secretText(16)),
    absent: 'webhooks of payment providers answer 404',
    description:
      "Verifies the signatures of the payment provider's webhooks. Several, separated by commas, " +
      'while it changes.',
    example: '<signing secret of the endpoint, whsec_…>',
  },
  PAYOUT_NAME: {
    group: 'Drivers',
    neededBy: ['payouts'],
    type: text(70),
    absent: 'a development bank account',
    description: 'Holder of the bank account that payouts are made from.',
    example: 'Rialto SAS',
  },
  PAYOUT_IBAN: {
    group: 'Drivers',
    neededBy: ['payouts'],
    type: iban,
    absent: 'a development bank account',
    description: 'IBAN of that account.',
    example: 'DE75 5121 0800 1245 1261 99',
  },
  PAYOUT_BIC: {
    group: 'Drivers',
    type: matching('BIC', /^[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?$/, 'a BIC such as SOGEDEFFXXX'),
    absent: 'left to the bank',
    description: 'BIC of the bank of that account, where the bank wants it.',
    example: 'SOGEDEFFXXX',
  },
  SMTP_HOST: {
    group: 'Drivers',
    neededBy: ['mail'],
    type: text(),
    absent: 'mail is written to the log as "not sent"',
    description: 'Mail server.',
    example: 'smtp.example.org',
  },
  SMTP_PORT: {
    group: 'Drivers',
    type: port,
    default: '587',
    description: 'Its port; 465 speaks TLS from the start.',
    example: '587',
  },
  SMTP_USER: {
    group: 'Drivers',
    type: text(),
    absent: 'no sign-in',
    description: 'Account on the mail server.',
    example: 'notifications@example.org',
  },
  SMTP_PASSWORD: {
    group: 'Drivers',
    secret: true,
    type: secretText(1),
    absent: 'no sign-in',
    description: 'Password of `SMTP_USER`.',
    example: '<password>',
  },
  SMTP_TLS_CA: {
    group: 'Drivers',
    type: pem('CERTIFICATE'),
    absent: 'the public certificate authorities',
    description: 'Certificates that the mail server may prove itself with, when it has its own.',
    example: '/etc/rialto/mail-ca.crt',
  },
  MAIL_FROM: {
    group: 'Drivers',
    type: mailbox,
    absent: '`SMTP_USER` when that is a mail address',
    description: 'Sender of mail.',
    example: 'Rialto <no-reply@example.org>',
  },
} as const satisfies Record<string, Variable>
