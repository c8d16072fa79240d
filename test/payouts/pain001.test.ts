import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { XmlDocument, XsdValidator } from 'libxml2-wasm'
import { fileDriver } from '../../src/drivers/payout/pain001/fileDriver.ts'
import { renderOrder } from '../../src/drivers/payout/pain001/renderOrder.ts'
import { sepaText } from '../../src/drivers/payout/pain001/sepaText.ts'
import { PayoutConflict, type PayoutBatch } from '../../src/drivers/payout/port.ts'

/** Orders to a bank: as the schema of ISO 20022 wants them, and written once. */

// As published by ISO 20022 (pain.001.001.09, 14 February 2019).
const schema = XsdValidator.fromDoc(
  XmlDocument.fromBuffer(readFileSync(join(import.meta.dir, 'pain.001.001.09.xsd'))),
)
/** What is wrong with a document; empty when nothing is. */
function flaws(bytes: Uint8Array): string {
  const document = XmlDocument.fromBuffer(bytes)
  try {
    schema.validate(document)
    return ''
  } catch (error) {
    return String(error)
  } finally {
    document.dispose()
  }
}

const payment = {
  endToEndId: '01a1fd716e5e773d9667b5d1bad9c845',
  cents: 12_345n,
  name: 'Zoë Müller & Søn',
  iban: 'FR1420041010050500013M02606',
  text: 'Payout 01a1fd71-6e5e-773d-9667-b5d1bad9c845',
}
const batch: PayoutBatch = {
  messageId: '01a1fd716e8b73bc8477c292a714e5a0',
  createdAt: new Date('2026-11-21T14:00:00.123Z'),
  debtor: { name: 'Rialto SAS', iban: 'DE75512108001245126199' },
  payments: [payment, { ...payment, endToEndId: 'b', cents: 1n }],
}
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe('an order', () => {
  test('is valid by the schema, with and without the BIC of the debtor', () => {
    expect(flaws(renderOrder(batch))).toBe('')
    const debtor = { ...batch.debtor, bic: 'SOGEDEFFXXX' }
    expect(flaws(renderOrder({ ...batch, debtor }))).toBe('')
  })

  test('the control: the schema finds what is wrong', () => {
    const xml = text(renderOrder(batch))
    for (const [good, bad] of [
      ['<Ccy', '<Ccx'],
      ['Ccy="EUR"', 'Ccy="Euro"'],
      ['<PmtMtd>TRF</PmtMtd>', '<PmtMtd>XXX</PmtMtd>'],
      ['FR1420041010050500013M02606', '14FR'],
      ['123.45', '123.456789'],
      ['<ChrgBr>SLEV</ChrgBr>', ''],
      ['<NbOfTxs>2</NbOfTxs>', '<NbOfTxs>two</NbOfTxs>'],
    ] as const) {
      if (!xml.includes(good)) continue
      const wrong = flaws(new TextEncoder().encode(xml.replace(good, bad)))
      // Who bears the charges may be left out; everything else may not be wrong.
      expect([bad, wrong !== '']).toEqual([bad, bad !== ''])
    }
  })

  test('says what is to be paid, to whom, and adds up', () => {
    const xml = text(renderOrder(batch))
    expect(xml).toContain('<NbOfTxs>2</NbOfTxs><CtrlSum>123.46</CtrlSum>')
    expect(xml).toContain('<InstdAmt Ccy="EUR">123.45</InstdAmt>')
    expect(xml).toContain('<InstdAmt Ccy="EUR">0.01</InstdAmt>')
    expect(xml).toContain('<Cdtr><Nm>Zoe Muller + Son</Nm></Cdtr>')
    expect(xml).toContain('<ReqdExctnDt><Dt>2026-11-21</Dt></ReqdExctnDt>')
  })

  test('of the same batch is the same, byte for byte', () => {
    expect(renderOrder(structuredClone(batch))).toEqual(renderOrder(batch))
  })

  test('is valid whatever people are called, and nothing of a name becomes markup', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 70 })
    fc.assert(
      fc.property(name, fc.bigInt(1n, 99_999_999_999n), (of, cents) => {
        fc.pre(sepaText(of) !== '')
        const bytes = renderOrder({ ...batch, payments: [{ ...payment, name: of, cents }] })
        expect(flaws(bytes)).toBe('')
      }),
      { numRuns: 300 },
    )
    const name_ = '</Nm></Cdtr><Cdtr><Nm>Eve'
    const xml = text(renderOrder({ ...batch, payments: [{ ...payment, name: name_ }] }))
    expect(xml.match(/<Cdtr>/g)).toHaveLength(1)
  })

  test.each([
    ['no payment', { payments: [] }],
    ['an id with signs', { messageId: '../../etc' }],
    ['nothing to pay', { payments: [{ ...payment, cents: 0n }] }],
    ['a billion', { payments: [{ ...payment, cents: 100_000_000_000n }] }],
    ['a name that no bank can write', { payments: [{ ...payment, name: '测试' }] }],
  ])('%s is a bug of the caller', (_what, change) => {
    expect(() => renderOrder({ ...batch, ...change } as PayoutBatch)).toThrow(RangeError)
  })
})

test.each([
  ['Zoë Müller & Søn', 'Zoe Muller + Son'],
  ['Łukasz Đorđević-Straße', 'Lukasz Dordevic-Strasse'],
  ['Ðóra Þórsdóttir', 'Dora THorsdottir'],
  ['D’Artagnan', "D'Artagnan"],
  ['//Evil//', 'Evil'],
  ['a<b>"c"', 'abc'],
  ['  many   spaces ', 'many spaces'],
  ['测试', ''],
])('%p in the characters of banks is %p', (given, expected) => {
  expect(sepaText(given)).toBe(expected)
})

describe('the folder of orders', () => {
  const inFolder = async (work: (folder: string) => Promise<void>) => {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-payouts-'))
    try {
      await work(join(folder, 'payouts'))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const content = renderOrder(batch)
  const { messageId } = batch

  test('gets each order once, whole, for this account alone', () =>
    inFolder(async (folder) => {
      const driver = fileDriver(folder)
      expect(await driver.find(messageId)).toBeUndefined()
      const all = await Promise.all(
        Array.from({ length: 10 }, () => driver.submit(messageId, content)),
      )
      const sha256 = createHash('sha256').update(content).digest()
      for (const one of all) expect(one).toEqual({ name: `${messageId}.xml`, sha256 })
      expect(await driver.find(messageId)).toEqual(all[0]!)
      expect(readdirSync(folder)).toEqual([`${messageId}.xml`])
      expect(readFileSync(join(folder, `${messageId}.xml`))).toEqual(Buffer.from(content))
      expect(statSync(join(folder, `${messageId}.xml`)).mode & 0o777).toBe(0o600)
    }))

  test('never has one order replaced by another', () =>
    inFolder(async (folder) => {
      const driver = fileDriver(folder)
      await driver.submit(messageId, content)
      const other = renderOrder({ ...batch, payments: [{ ...payment, cents: 99_999n }] })
      expect(driver.submit(messageId, other)).rejects.toBeInstanceOf(PayoutConflict)
      expect(readFileSync(join(folder, `${messageId}.xml`))).toEqual(Buffer.from(content))
    }))

  test('is left by no id', () =>
    inFolder(async (folder) => {
      const driver = fileDriver(folder)
      expect(driver.submit('../outside', content)).rejects.toBeInstanceOf(RangeError)
      expect(driver.find('/etc/passwd')).rejects.toBeInstanceOf(RangeError)
    }))

  test('that cannot be written says so', () =>
    inFolder(async (folder) => {
      writeFileSync(folder, 'a file where the folder should be')
      expect(fileDriver(folder).submit(messageId, content)).rejects.toThrow()
    }))
})
