import { afterAll, describe, expect, test } from 'bun:test'
import { BODY_BYTES_MAX } from '../../src/http/body.ts'
import { POOL_ID } from './sample-feature.ts'
import { sendRaw, startHttp } from './support.ts'

const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

const GET_MINE = 'GET /api/v1/pools/mine HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n'
const POST =
  `POST /api/v1/pools/${POOL_ID}/positions HTTP/1.1\r\nHost: x\r\n` +
  'Authorization: Bearer good\r\n'
const JSON_TYPE = 'Content-Type: application/json\r\n'
const statusesOf = (answer: string) =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))

// What Bun's parser refuses, it answers itself, without a body, and closes.
const cases: [string, string, number[]][] = [
  ['a plain request', `${GET_MINE}\r\n`, [200]],
  ['two requests at once', `${GET_MINE}\r\n${GET_MINE}\r\n`, [200, 200]],
  ['no Host', 'GET /health HTTP/1.1\r\n\r\n', [400]],
  ['an unknown method', 'FOO /health HTTP/1.1\r\nHost: x\r\n\r\n', []],
  ['TRACE', 'TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n', [405]],
  ['PROPFIND', 'PROPFIND /api/v1/pools HTTP/1.1\r\nHost: x\r\n\r\n', [405]],
  ['CONNECT', 'CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n', [400]],
  ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', [400]],
  ['an absolute address', GET_MINE.replace('GET ', 'GET http://evil.example') + '\r\n', [200]],
  ['double slashes', GET_MINE.replace('GET /', 'GET //') + '\r\n', [404]],
  ['a foreign path', 'GET //evil.example/a HTTP/1.1\r\nHost: x\r\n\r\n', [404]],
  ['dots', 'GET /api/v1/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n', [404]],
  ['a fragment', GET_MINE.replace('mine', 'mine#top') + '\r\n', [422]],
  ['backslashes', GET_MINE.replace('v1/pools/', 'v1\\pools\\') + '\r\n', [200]],
  ['raw bytes in a path', 'GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n', [404]],
  ['a Host with a path', GET_MINE.replace('Host: x', 'Host: a/b?c') + '\r\n', [200]],
  ['the same elsewhere', 'GET /api/v1/about/ HTTP/1.1\r\nHost: a/b?c\r\n\r\n', [400]],
  ['an empty Host', 'GET /nowhere HTTP/1.1\r\nHost:\r\n\r\n', [400]],
  ['HTTP/1.0 of a probe', 'GET /health HTTP/1.0\r\n\r\n', [200]],
  ['HTTP/1.0 elsewhere', 'GET /nowhere HTTP/1.0\r\n\r\n', [400]],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n', [505]],
  ['rubbish', 'rubbish\r\n\r\n', [400]],
  ['a long address', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, [431]],
  ['a long header', `${GET_MINE}X: ${'a'.repeat(20_000)}\r\n\r\n`, [431]],
  ['a length that is none', `${POST}${JSON_TYPE}Content-Length: abc\r\n\r\n{}`, [400]],
  ['a negative length', `${POST}${JSON_TYPE}Content-Length: -1\r\n\r\n{}`, [400]],
  ['two lengths', `${POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, [400]],
  [
    'a length and chunks',
    `${POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    [400],
  ],
  [
    'a bad chunk',
    `${POST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    [400],
  ],
  ['a length of none', `${POST}Content-Length: 0\r\n\r\n`, [422]],
  ['no chunk', `${POST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, [422]],
  ['a body announced and none sent', `${POST}${JSON_TYPE}Content-Length: 5\r\n\r\n`, []],
  [
    'too long a body announced',
    `${POST}${JSON_TYPE}Content-Length: ${BODY_BYTES_MAX + 1}\r\n\r\n{`,
    [413],
  ],
  [
    'a body with a GET',
    `${GET_MINE}${JSON_TYPE}Content-Length: 2\r\n\r\n{}${GET_MINE}\r\n`,
    [200, 200],
  ],
  ['Expect', `${POST}${JSON_TYPE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}`, [422]],
]

// All at once: most answers are only known to be complete when nothing more comes.
const answers = cases.map(([, request]) => sendRaw(app.port, Buffer.from(request, 'latin1')))

describe('bytes on the line', () => {
  for (const [i, [name, , expected]] of cases.entries()) {
    test(`${name}: ${expected.join(', ') || 'closed, or waited for'}`, async () => {
      const statuses = statusesOf((await answers[i]) as string)
      expect(statuses.filter((status) => status !== 100)).toEqual(expected)
    })
  }
})

test('chunks beyond the limit are refused while they come, and the sender stopped', async () => {
  const { promise, resolve } = Promise.withResolvers<string>()
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  let sent = 0
  let answer = ''
  const feed = (socket: Bun.Socket) => {
    // A gigabyte would follow.
    while (sent < 16_384 && socket.write(chunk) === chunk.length) sent++
  }
  await Bun.connect({
    hostname: '127.0.0.1',
    port: app.port,
    socket: {
      open(socket) {
        socket.write(`${POST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n`)
        feed(socket)
      },
      drain: feed,
      data(socket, data) {
        answer += data.toString()
        socket.end()
        resolve(answer)
      },
      close: () => resolve(answer),
    },
  })
  expect(statusesOf(await promise)).toEqual([413])
  expect(sent * 0x10000).toBeLessThan(64 * 1024 * 1024)
})

test('nothing above was a fault of the server', () => {
  expect(app.log()).toEqual([])
})
