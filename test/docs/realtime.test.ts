import { describe, expect, test } from 'bun:test'
import { CLOSE, GATEWAY_LIMITS } from '../../realtime/codes.ts'
import { COMMANDS, HISTORY_MAX } from '../../realtime/commands.ts'
import { ERRORS } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { messagingFeature } from '../../src/messaging/index.ts'
import { documentText, examplesOf, flawsOf } from './examples.ts'

const realtime = documentText('realtime.md')
const messaging = documentText('messaging.md')

/** Rows of the table below a heading, as cells without marks. */
function rows(text: string, heading: string): string[][] {
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('| '))
  return lines.slice(1).map((line) => {
    return line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', ''))
  })
}

describe('examples', () => {
  test.each([
    ['realtime.md', realtime, 12],
    ['messaging.md', messaging, 13],
  ])('in %s are what the server says and takes', (_name, text, atLeast) => {
    const examples = examplesOf(text)
    expect(flawsOf(examples)).toEqual([])
    expect(examples.length).toBeGreaterThanOrEqual(atLeast)
  })

  test('that are wrong are found', () => {
    const block = (kind: string, value: object) =>
      `\n\`\`\`json ${kind}\n${JSON.stringify(value)}\n\`\`\`\n`
    const text = [
      block('client', { type: 'ping', id: '1', payload: {} }),
      block('client', { type: 'message', id: '2', payload: { content: 'hello' } }),
      block('server', { type: 'ack', id: '3', payload: {} }),
      block('server', { type: 'error', payload: { code: 'rate_limited', retryable: false } }),
      block('server', { type: 'message', channel: 'user:x', payload: {} }),
      block('output conversations.list', { items: [], next_cursor: null, total: 7 }),
    ].join('')
    const flaws = flawsOf(examplesOf(text)).join('\n')
    expect(flaws).not.toContain('line 2:')
    expect(flaws).toContain('line 6: message /content: Unexpected property')
    expect(flaws).toContain('line 10: an answer to 3, which nobody asked')
    expect(flaws).toContain('line 14: rate_limited is retryable: true')
    expect(flaws).toContain('line 18: an offset: true')
    expect(flaws).toContain('line 22: conversations.list has no field /total')
  })
})

describe('tables', () => {
  test('of commands, errors, close codes and limits are those of the server', () => {
    const commands = rows(realtime, 'Commands').flatMap(([names = '']) => names.split(', '))
    expect(commands.toSorted()).toEqual([...Object.keys(COMMANDS), 'heartbeat'].toSorted())
    expect(realtime).toContain(`limit? ≤ ${HISTORY_MAX}`)
    expect(rows(realtime, 'Errors')).toEqual(
      Object.entries(ERRORS).map(([code, { status, retryable }]) => [
        code,
        String(status),
        retryable ? 'yes' : 'no',
      ]),
    )
    expect(rows(realtime, 'Close codes')).toEqual(
      Object.values(CLOSE).map(({ code, reason }) => [
        String(code),
        reason,
        code < 4500 ? 'yes' : 'no',
      ]),
    )
    expect(rows(realtime, 'Limits').map(([, limit, name]) => [name, limit])).toEqual(
      Object.entries(GATEWAY_LIMITS).map(([name, value]) => [name, value.toLocaleString('en')]),
    )
  })

  test('of messaging name every operation with its routes and its rate', () => {
    const { operations } = messagingFeature
    const routes = operations.flatMap((o) =>
      o.routes.map(({ method, path }) => `${method} ${path}`),
    )
    const shown = rows(messaging, 'Over REST')
    expect(shown.flatMap(([, text = '']) => text.split(', ')).toSorted()).toEqual(routes.toSorted())
    expect(shown.flatMap(([names = '']) => names.split(', ')).toSorted()).toEqual(
      operations.map(({ name }) => name).toSorted(),
    )
    for (const [name = '', burst, perSecond, which = ''] of rows(messaging, 'Limits')) {
      const limit = LIMITS[name as keyof typeof LIMITS]
      expect([name, burst, perSecond]).toEqual([name, `${limit.burst}`, `${limit.perSecond}`])
      const of = operations.filter((operation) => operation.limit === name)
      expect(which.split(', ').toSorted()).toEqual(of.map((o) => o.name).toSorted())
    }
  })

  test('of events: each one of messaging has an example', () => {
    const types = new Set(examplesOf(messaging).map(({ value }) => value['type']))
    for (const { type } of messagingFeature.events) expect(types).toContain(type)
  })
})
