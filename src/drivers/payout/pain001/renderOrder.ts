import type { PayoutBatch, PayoutPayment } from '../port.ts'
import { sepaText } from './sepaText.ts'

/** Longest texts that the SEPA rules allow. */
const NAME_MAX = 70
const TEXT_MAX = 140

const NAMESPACE = 'urn:iso:std:iso:20022:tech:xsd:pain.001.001.09'

/**
 * Renders a batch as a pain.001.001.09 document (ISO 20022, Customer Credit Transfer Initiation;
 * EPC132-08 for what SEPA wants of it). The same batch gives the same bytes.
 *
 * @throws RangeError for what no bank would take: a bug of the caller
 */
export function renderOrder({ messageId, createdAt, debtor, payments }: PayoutBatch): Uint8Array {
  if (payments.length === 0) throw new RangeError('an order without payments')
  checkId(messageId)
  const instant = createdAt.toISOString()
  const count = String(payments.length)
  const sum = euros(payments.reduce((all, { cents }) => all + cents, 0n))
  const name = element('Nm', nameOf(debtor.name))
  const agent =
    debtor.bic === undefined
      ? element('Othr', element('Id', 'NOTPROVIDED'))
      : element('BICFI', escaped(debtor.bic))
  const document = element(
    `Document xmlns="${NAMESPACE}"`,
    element(
      'CstmrCdtTrfInitn',
      element(
        'GrpHdr',
        element('MsgId', messageId),
        element('CreDtTm', instant),
        element('NbOfTxs', count),
        element('CtrlSum', sum),
        element('InitgPty', name),
      ),
      element(
        'PmtInf',
        element('PmtInfId', `${messageId}-1`),
        element('PmtMtd', 'TRF'),
        element('NbOfTxs', count),
        element('CtrlSum', sum),
        element('PmtTpInf', element('SvcLvl', element('Cd', 'SEPA'))),
        element('ReqdExctnDt', element('Dt', instant.slice(0, 10))),
        element('Dbtr', name),
        element('DbtrAcct', account(debtor.iban)),
        element('DbtrAgt', element('FinInstnId', agent)),
        element('ChrgBr', 'SLEV'),
        ...payments.map(transaction),
      ),
    ),
  )
  return new TextEncoder().encode(`<?xml version="1.0" encoding="UTF-8"?>\n${document}\n`)
}

function transaction({ endToEndId, cents, name, iban, text }: PayoutPayment): string {
  checkId(endToEndId)
  if (cents <= 0n || cents > CENTS_MAX) throw new RangeError(`a payment of ${cents} cents`)
  return element(
    'CdtTrfTxInf',
    element('PmtId', element('InstrId', endToEndId), element('EndToEndId', endToEndId)),
    element('Amt', element('InstdAmt Ccy="EUR"', euros(cents))),
    element('Cdtr', element('Nm', nameOf(name))),
    element('CdtrAcct', account(iban)),
    element('RmtInf', element('Ustrd', escaped(sepaText(text).slice(0, TEXT_MAX).trim()))),
  )
}

/** 999,999,999.99: the most that a SEPA credit transfer carries. */
const CENTS_MAX = 99_999_999_999n

/** Whether a payment can be rendered: banks take no name in letters that they do not know. */
export function takesPayment({ name, cents }: Pick<PayoutPayment, 'name' | 'cents'>): boolean {
  return cents > 0n && cents <= CENTS_MAX && sepaText(name) !== ''
}

const account = (iban: string) => element('Id', element('IBAN', escaped(iban)))

function nameOf(text: string): string {
  const name = sepaText(text).slice(0, NAME_MAX).trim()
  if (name === '') throw new RangeError('a name without a character that banks take')
  return escaped(name)
}

function checkId(id: string): void {
  if (!/^[A-Za-z0-9-]{1,32}$/.test(id)) throw new RangeError(`not an id for a bank: ${id}`)
}

function euros(cents: bigint): string {
  const digits = cents.toString().padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}

/** An element with its content; of a tag with attributes only the name is closed. */
function element(tag: string, ...content: readonly string[]): string {
  return `<${tag}>${content.join('')}</${tag.split(' ')[0]}>`
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
