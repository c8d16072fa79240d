import { describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { user } from '../../src/kernel/access.ts'
import { acceptInput, refuseNul } from '../../src/kernel/input.ts'
import { operation } from '../../src/kernel/operation.ts'

const send = operation('send', {
  summary: 'Sends',
  access: user(),
  limit: 'write',
  input: input({
    recipient_id: t.String(),
    note: t.Optional(t.String()),
    options: t.Optional(t.Object({ is_read: t.Boolean() }, { additionalProperties: false })),
  }),
  output: t.Object({}),
  immediate: () => ({}),
})

/** What is refused, by its paths, or the input as the handler gets it. */
function accepted(value: unknown): unknown {
  try {
    return acceptInput(send, value)
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'validation_failed') throw error
    return error.errors?.map(({ path }) => path)
  }
}

test('good input is passed on as it is, not copied', () => {
  const value = { recipient_id: 'ada' }
  expect(accepted(value)).toBe(value)
})

describe('accepted', () => {
  test.each<[what: string, value: object, got: object]>([
    ['camelCase', { recipientId: 'ada' }, { recipient_id: 'ada' }],
    [
      'both spellings: the canonical one counts',
      { recipientId: 'eve', recipient_id: 'ada' },
      { recipient_id: 'ada' },
    ],
    [
      'fields that the server knows better, in either spelling: dropped',
      { recipient_id: 'ada', userId: 'x', sender_id: 'x', caller_id: 1, timestamp: 0, isRead: {} },
      { recipient_id: 'ada' },
    ],
  ])('%s', (_, value, got) => {
    expect(accepted(value)).toEqual(got)
  })

  test('and the value of the caller stays what it was', () => {
    const value = { recipientId: 'ada', user_id: 'x' }
    accepted(value)
    expect(value).toEqual({ recipientId: 'ada', user_id: 'x' })
  })
})

describe('refused, with the place', () => {
  test.each<[what: string, value: unknown, paths: string[]]>([
    ['an unknown field', { recipient_id: 'ada', admin: true }, ['/admin']],
    ['an unknown field, as the caller spells it', { recipient_id: 'a', isAdmin: 1 }, ['/isAdmin']],
    ['a missing field', {}, ['/recipient_id', '/recipient_id']],
    ['a wrong type', { recipient_id: 7 }, ['/recipient_id']],
    ['a wrong type in camelCase', { recipientId: 7 }, ['/recipient_id']],
    [
      'a wrong canonical one beside a right one in camelCase',
      { recipientId: 'ada', recipient_id: 7 },
      ['/recipient_id'],
    ],
    [
      'camelCase further down, which is nobody’s habit',
      { recipient_id: 'ada', options: { isRead: true } },
      ['/options/is_read', '/options/isRead', '/options/is_read'],
    ],
    ['nothing', undefined, ['/']],
    ['null', null, ['/']],
    ['a list', [{ recipient_id: 'ada' }], ['/']],
    ['a text', 'recipient_id', ['/']],
  ])('%s', (_, value, paths) => {
    const refused = accepted(value) as string[]
    expect(refused.toSorted()).toEqual(paths.toSorted())
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype'])(
    'the name %s, which objects have by themselves',
    (name) => {
      const value = JSON.parse(`{"recipientId": "ada", ${JSON.stringify(name)}: {"x": 1}}`)
      expect(accepted(value)).toEqual([`/${name}`])
      expect(({} as { x?: number }).x).toBeUndefined()
    },
  )

  test('at most twenty places, however many are wrong', () => {
    const wrong = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`field_${n}`, n]))
    expect(accepted(wrong)).toHaveLength(20)
  })
})

describe('the character U+0000', () => {
  const placeOf = (value: unknown) => {
    try {
      refuseNul(value)
      return undefined
    } catch (error) {
      return (error as Failure).errors?.[0]?.path
    }
  }
  const named = (name: string, value: unknown) => Object.fromEntries([[name, value]])

  test.each<[what: string, value: unknown, path: string | undefined]>([
    ['is not in it', { a: ['b', 1, null, true, { c: 'd' }] }, undefined],
    ['is written out, as an escape', { a: '\\u0000' }, undefined],
    ['is the text itself', '\0', '/'],
    ['lies in a field', { a: { b: 'x\0' } }, '/a/b'],
    ['lies in a list', { a: ['x', ['\0']] }, '/a/1/0'],
    ['lies below a name with a slash and a tilde', { 'a/b~': '\0' }, '/a~1b~0'],
    ['lies in a name', { a: named('b\0', 1) }, '/a'],
    ['lies in a name at the top', named('\0', 1), '/'],
    ['lies below a name that objects have', JSON.parse('{"__proto__":"\\u0000"}'), '/__proto__'],
  ])('%s', (_, value, path) => {
    expect(placeOf(value)).toBe(path)
  })

  test('is found however deep the value is', () => {
    let value: unknown = '\0'
    for (let n = 0; n < 20_000; n++) value = [value]
    expect(placeOf(value)?.length).toBe(2 * 20_000)
  })
})
