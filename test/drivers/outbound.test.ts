import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, test } from 'bun:test'
import { systemClock, testClock } from '../../src/base/clock.ts'
import { directOutbound } from '../../src/drivers/outbound/direct/directOutbound.ts'
import { createNetworks, type Networks } from '../../src/drivers/outbound/networks.ts'
import type { OutboundRequest, OutboundResult } from '../../src/drivers/outbound/port.ts'
import { freePort, until } from '../support/wait.ts'
import { CERTIFICATE, PRIVATE_KEY } from './certificate.ts'

const never = new AbortController().signal
const production = createNetworks({ opened: [], production: true })
const loopback = createNetworks({ opened: ['127.0.0.0/8'], production: false })

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** A server that treats each connection as `serve` says, and keeps what it was sent. */
async function listener(
  serve: (socket: Socket, text: string) => void,
  { tls = false, host = '127.0.0.1' } = {},
) {
  const open = new Set<Socket>()
  const requests: string[] = []
  let connections = 0
  const onConnection = (socket: Socket) => {
    connections++
    open.add(socket)
    let text = ''
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      const length = /content-length: (\d+)/i.exec(text)?.[1]
      const end = text.indexOf('\r\n\r\n')
      if (end < 0 || text.length < end + 4 + Number(length ?? 0)) return
      requests.push(Buffer.from(text, 'latin1').toString())
      serve(socket, text)
    })
  }
  const server: Server = tls
    ? createTlsServer({ cert: CERTIFICATE, key: PRIVATE_KEY }, onConnection)
    : createServer(onConnection)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  stops.push(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return { port, requests, open, connections: () => connections }
}

const answer = (status: string, headers = '', body = '') =>
  `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

type Found = (error: null, addresses: { address: string; family: number }[]) => void

interface Names {
  readonly [name: string]: readonly string[]
}

function post(
  url: string,
  options: { networks?: Networks; names?: Names; ca?: string; signal?: AbortSignal } = {},
  request: Partial<OutboundRequest> = {},
): Promise<OutboundResult> {
  const { networks = loopback, names = {}, ca, signal = never } = options
  const outbound = directOutbound({
    clock: systemClock,
    networks,
    resolve: async (name) => names[name] ?? Promise.reject(new Error('ENOTFOUND')),
    ...(ca === undefined ? {} : { ca }),
  })
  const whole = { url: new URL(url), headers: { 'X-Test': 'yes' }, body: '{"é":1}', ...request }
  return outbound.post(whole, signal)
}

describe('what may be sent to', () => {
  const closed = [
    ['this machine', '127.0.0.1', '127.255.255.254', '::1', '0.0.0.0', '::'],
    ['private networks', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1'],
    ['link-local, and so what clouds tell their machines', '169.254.169.254', 'fe80::1'],
    ['clouds elsewhere', '100.100.100.200', '192.0.0.192', '168.63.129.16', 'fd00:ec2::254'],
    ['carrier-grade NAT', '100.64.0.1', '100.127.255.255'],
    ['multicast and reserved', '224.0.0.1', '239.1.1.1', '255.255.255.255', '240.0.0.1', 'ff02::1'],
    ['documentation and benchmarks', '192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1'],
    ['documentation in IPv6', '2001:db8::1', '3fff::1', '2001:2::1'],
    ['IPv4 in IPv6', '::ffff:127.0.0.1', '::ffff:a00:1', '::127.0.0.1', '64:ff9b::a00:1'],
    ['IPv4 in tunnels', '2002:7f00:1::1', '2001:0:4136:e378::1', '64:ff9b:1::a00:1'],
    ['site-local and the rest', 'fec0::1', '5f00::1', '4000::1'],
    ['with a zone', 'fe80::1%eth0'],
  ]
  test.each(closed)('not %s', (_what, ...addresses) => {
    for (const address of addresses) {
      expect([address, production.permits(address, 'https:')]).toEqual([address, false])
    }
  })

  test('the public internet', () => {
    const open = ['1.1.1.1', '8.8.8.8', '172.15.255.255', '172.32.0.1', '100.128.0.1', '11.0.0.1']
    for (const address of [...open, '2606:4700::1111', '2a00:1450:4001::1', '2001:4860::8888']) {
      expect([address, production.permits(address, 'https:')]).toEqual([address, true])
    }
    expect(production.permits('1.1.1.1', 'http:')).toBe(false)
    expect(production.permits('example.org', 'https:')).toBe(false)
  })

  test('what the operator has opened; in plain HTTP outside production alone', () => {
    const opened = ['10.20.0.0/16', 'fd00::/8']
    const live = createNetworks({ opened, production: true })
    expect(live.permits('10.20.3.4', 'https:')).toBe(true)
    expect(live.permits('::ffff:10.20.3.4', 'https:')).toBe(true)
    expect(live.permits('fd12::1', 'https:')).toBe(true)
    expect(live.permits('10.21.0.1', 'https:')).toBe(false)
    expect(live.refusal(new URL('http://10.20.3.4/'))).toBe('Must begin with https://')
    const development = createNetworks({ opened, production: false })
    expect(development.refusal(new URL('http://10.20.3.4/'))).toBeUndefined()
    expect(development.permits('1.1.1.1', 'http:')).toBe(false)
  })

  test('no addresses that say more than a place', () => {
    const refusals = Object.fromEntries(
      [
        'https://example.org/hook?tenant=1',
        'https://example.org:8443/',
        'http://example.org/',
        'ftp://example.org/',
        'file:///etc/passwd',
        'gopher://example.org/',
        'https://user:password@example.org/',
        'https://example.org/#part',
        'https://example.org:25/',
        'https://example.org:22/',
        'https://2130706433/',
        'https://0x7f.1/',
        'https://[::ffff:7f00:1]/',
        'https://①②⑦.⓪.⓪.①/',
        `https://${'a.'.repeat(127)}org/`,
      ].map((text) => [text.slice(0, 40), production.refusal(new URL(text))]),
    )
    expect(refusals).toMatchSnapshot()
  })
})

describe('a request', () => {
  test('arrives as it was meant, and its answer is read', async () => {
    const server = await listener((socket) => {
      socket.end(answer('202 Accepted', 'Retry-After: 3\r\n', 'thank you\u0000\u0007 ünd'))
    })
    const result = await post(`http://127.0.0.1:${server.port}/a/b?c=d`)
    expect(result).toMatchObject({ kind: 'answer', status: 202, retryAfterMs: 3_000 })
    expect(result).toMatchObject({ body: 'thank you ünd' })
    expect(result.durationMs).toBeWithin(0, 5_000)
    const [head = '', body] = (server.requests[0] as string).split('\r\n\r\n')
    expect(head.split('\r\n')[0]).toBe('POST /a/b?c=d HTTP/1.1')
    expect(head.split('\r\n').slice(1).toSorted()).toEqual([
      'Connection: close',
      'Content-Length: 8',
      `Host: 127.0.0.1:${server.port}`,
      'X-Test: yes',
    ])
    expect(body).toBe('{"é":1}')
  })

  test('trusts a certificate for the name alone, from an authority that it knows', async () => {
    const server = await listener((socket) => socket.end(answer('204 No Content')), { tls: true })
    const names = { 'hook.example': ['127.0.0.1'], 'other.example': ['127.0.0.1'] }
    const at = (name: string, ca?: string) =>
      post(`https://${name}:${server.port}/`, { names, ...(ca === undefined ? {} : { ca }) })
    expect(await at('hook.example', CERTIFICATE)).toMatchObject({ kind: 'answer', status: 204 })
    expect(await at('127.0.0.1', CERTIFICATE)).toMatchObject({ kind: 'answer', status: 204 })
    expect(await at('hook.example')).toMatchObject({ kind: 'failure', reason: 'tls' })
    expect(await at('other.example', CERTIFICATE)).toMatchObject({ kind: 'failure', reason: 'tls' })
    // Nothing was said to whom it could not trust.
    expect(server.requests).toHaveLength(2)
  })

  test('is answered in plain HTTP where TLS is wanted: refused, and nothing said', async () => {
    const heard: Buffer[] = []
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', (bytes: Buffer) => {
        heard.push(bytes)
        socket.end(answer('200 OK'))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stops.push(() => server.close())
    const { port } = server.address() as { port: number }
    const result = await post(`https://127.0.0.1:${port}/`)
    expect(result).toMatchObject({ kind: 'failure', reason: 'tls' })
    expect(Buffer.concat(heard).includes('POST')).toBe(false)
  })

  test('takes the next address of a name when nobody is at the first', async () => {
    const server = await listener((socket) => socket.end(answer('200 OK')))
    const names = { 'hook.example': ['127.0.0.9', '127.0.0.1'] }
    const result = await post(`http://hook.example:${server.port}/`, { names })
    expect(result).toMatchObject({ kind: 'answer', status: 200 })
  })

  test('is not followed elsewhere', async () => {
    const elsewhere = await listener((socket) => socket.end(answer('200 OK')))
    for (const status of ['301 Moved', '302 Found', '307 Temporary', '308 Permanent']) {
      const location = `Location: http://127.0.0.1:${elsewhere.port}/\r\n`
      const server = await listener((socket) => socket.end(answer(status, location)))
      const result = await post(`http://127.0.0.1:${server.port}/`)
      expect(result).toMatchObject({ kind: 'answer', status: Number.parseInt(status, 10) })
    }
    expect(elsewhere.connections()).toBe(0)
  })

  test('is not sent through a proxy that the environment names', async () => {
    const proxy = await listener((socket) => socket.end(answer('200 OK')))
    const server = await listener((socket) => socket.end(answer('201 Created')))
    const names = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy']
    const before = names.map((name) => [name, process.env[name]] as const)
    try {
      for (const name of names) process.env[name] = `http://127.0.0.1:${proxy.port}`
      const result = await post(`http://127.0.0.1:${server.port}/`)
      expect(result).toMatchObject({ status: 201 })
      // The control: the runtime's own client would have gone there.
      const naive = await fetch(`http://127.0.0.2:${server.port}/`)
      expect([naive.status, proxy.connections()]).toEqual([200, 1])
    } finally {
      // One by one: another object in its place would leave the runtime's client with the proxy.
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
    expect(proxy.connections()).toBe(1)
  })
})

describe('names that lead inside', () => {
  const NOWHERE = 'inside.example has no address that may be sent to'
  /** Answers with the public address first, as if the check were all that asks. */
  function rebinding(addresses: readonly string[]) {
    const asked: string[] = []
    const resolve = (name: string) => {
      asked.push(name)
      return Promise.resolve([addresses[Math.min(asked.length, addresses.length) - 1] as string])
    }
    return { asked, resolve }
  }

  test('are refused, and nobody is connected to', async () => {
    const server = await listener((socket) => socket.end(answer('200 OK')))
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '10.0.0.1']) {
      const names = { 'inside.example': [address] }
      const url = `https://inside.example:${server.port}/`
      const result = await post(url, { networks: production, names })
      expect(result).toMatchObject({ kind: 'failure', reason: 'name', detail: NOWHERE })
    }
    expect(server.connections()).toBe(0)
  })

  test('beside outside ones are passed over', async () => {
    const server = await listener((socket) => socket.end(answer('200 OK')))
    // The test's public internet is one address of loopback.
    const networks = createNetworks({ opened: ['127.0.0.1/32'], production: false })
    const names = { 'mixed.example': ['10.0.0.1', '127.0.0.2', '127.0.0.1'] }
    const result = await post(`http://mixed.example:${server.port}/`, { networks, names })
    expect(result).toMatchObject({ kind: 'answer', status: 200 })
  })

  test('only the second time they are asked (DNS rebinding) lead nowhere', async () => {
    const outside = await listener((socket) => socket.end(answer('200 OK', '', 'outside')), {
      tls: true,
    })
    const inside = await listener((socket) => socket.end(answer('200 OK', '', 'inside')), {
      host: '127.0.0.2',
    })
    // Outside is 127.0.0.1 here and inside 127.0.0.2, where the rule lets nobody.
    const networks = createNetworks({ opened: ['127.0.0.1/32'], production: false })
    const { asked, resolve } = rebinding(['127.0.0.1', '127.0.0.2'])
    const outbound = directOutbound({ clock: systemClock, networks, resolve, ca: CERTIFICATE })
    const request = { headers: {}, body: '{}' }
    const first = await outbound.post(
      { ...request, url: new URL(`https://hook.example:${outside.port}/`) },
      never,
    )
    expect(first).toMatchObject({ status: 200, body: 'outside' })
    // Asked once for a request, so that there is no second answer to be caught by.
    expect(asked).toEqual(['hook.example'])
    const second = await outbound.post(
      { ...request, url: new URL(`https://hook.example:${inside.port}/`) },
      never,
    )
    expect(second).toMatchObject({ kind: 'failure', reason: 'name' })
    expect(inside.connections()).toBe(0)

    // The control: who looks and then connects by name is led inside.
    const again = rebinding(['127.0.0.1', '127.0.0.2'])
    const [looked] = await again.resolve('hook.example')
    expect(networks.permits(looked as string, 'http:')).toBe(true)
    const lookup = (name: string, _options: unknown, found: Found) => {
      void again
        .resolve(name)
        .then(([address]) => found(null, [{ address: address as string, family: 4 }]))
    }
    const naive = connect({ host: 'hook.example', port: inside.port, lookup })
    await until(() => inside.connections() === 1, 'the naive way is led inside')
    naive.destroy()
  })

  test('are not told from those that lead nowhere', async () => {
    const nowhere = { kind: 'failure', reason: 'name', detail: NOWHERE }
    const url = 'https://inside.example/'
    expect(await post(url, { networks: production })).toMatchObject(nowhere)
    const names = { 'inside.example': [] }
    expect(await post(url, { networks: production, names })).toMatchObject(nowhere)
  })
})

describe('an other side that misbehaves', () => {
  test('and is not there', async () => {
    const result = await post(`http://127.0.0.1:${freePort()}/`)
    expect(result).toMatchObject({ kind: 'failure', reason: 'unreachable' })
  })

  test('by an endless body: the status counts, 1 KiB is read, then it is cut off', async () => {
    let sent = 0
    const server = await listener((socket) => {
      socket.write('HTTP/1.1 500 Sorry\r\nTransfer-Encoding: chunked\r\n\r\n')
      const more = () => {
        while (!socket.destroyed && socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`)) sent++
      }
      socket.on('drain', more)
      more()
    })
    const result = await post(`http://127.0.0.1:${server.port}/`)
    expect(result).toMatchObject({ kind: 'answer', status: 500, body: 'x'.repeat(1_024) })
    await until(() => server.open.size === 0, 'the connection is closed')
    // What lay in the buffers of both sides, not what it would have sent.
    expect(sent * 0x4000).toBeLessThan(64 * 1_048_576)
  })

  test('by a body that drips: the status counts after two seconds', async () => {
    const server = await listener((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
      const timer = setInterval(() => socket.write('.'), 100)
      socket.on('close', () => clearInterval(timer))
    })
    const result = await post(`http://127.0.0.1:${server.port}/`)
    expect(result).toMatchObject({ kind: 'answer', status: 200 })
    expect(result.durationMs).toBeWithin(1_500, 6_000)
    await until(() => server.open.size === 0, 'the connection is closed')
  })

  test('by compression: what comes is not unpacked', async () => {
    const bomb = Bun.gzipSync(Buffer.alloc(50_000_000))
    const server = await listener((socket) => {
      const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`
      socket.write(`${head}\r\n`)
      socket.end(bomb)
    })
    const result = await post(`http://127.0.0.1:${server.port}/`)
    expect(result).toMatchObject({ kind: 'answer', status: 200 })
    expect(result.kind === 'answer' && result.body.length).toBeLessThanOrEqual(1_024)
  })

  test.each([
    ['nonsense', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['nothing', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nX-Half: '],
    ['another protocol', 'HTTP/1.1 101 Switching\r\nUpgrade: ws\r\nConnection: Upgrade\r\n\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\n${'X-More: more\r\n'.repeat(20_000)}\r\n`],
  ])('by sending %s', async (_what, text) => {
    const server = await listener((socket) => socket.end(text))
    const result = await post(`http://127.0.0.1:${server.port}/`)
    expect(result).toMatchObject({ kind: 'failure', reason: 'broken' })
    await until(() => server.open.size === 0, 'the connection is closed')
  })

  test('by not answering: given up after 15 s of whatever clock there is', async () => {
    const clock = testClock()
    const server = await listener(() => undefined)
    const outbound = directOutbound({ clock, networks: loopback, resolve: () => nobody() })
    const url = new URL(`http://127.0.0.1:${server.port}/`)
    const result = outbound.post({ url, headers: {}, body: '' }, never)
    await until(() => server.requests.length === 1, 'the request is there')
    clock.advance(14_999)
    await Bun.sleep(10)
    expect(server.open.size).toBe(1)
    clock.advance(1)
    expect(await result).toMatchObject({
      kind: 'failure',
      reason: 'timeout',
      durationMs: 15_000,
    })
    await until(() => server.open.size === 0, 'the connection is closed')
    expect(clock.pendingTimers()).toBe(0)
  })

  test('by a name server that does not answer', async () => {
    const clock = testClock()
    const outbound = directOutbound({ clock, networks: loopback, resolve: () => nobody() })
    const result = outbound.post(
      { url: new URL('https://slow.example/'), headers: {}, body: '' },
      never,
    )
    await clock.advanceAsync(15_000)
    expect(await result).toMatchObject({ kind: 'failure', reason: 'timeout' })
    expect(clock.pendingTimers()).toBe(0)
  })

  test('by not finishing the TLS handshake', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stops.push(() => server.close())
    const clock = testClock()
    const outbound = directOutbound({ clock, networks: loopback, resolve: () => nobody() })
    const { port } = server.address() as { port: number }
    const url = new URL(`https://127.0.0.1:${port}/`)
    const result = outbound.post({ url, headers: {}, body: '' }, never)
    await Bun.sleep(50)
    clock.advance(5_000)
    expect(await result).toMatchObject({ kind: 'failure' })
  })
})

const nobody = () => new Promise<never>(() => undefined)

test('a server that goes away gives the request up', async () => {
  const server = await listener(() => undefined)
  const abort = new AbortController()
  const result = post(`http://127.0.0.1:${server.port}/`, { signal: abort.signal })
  await until(() => server.requests.length === 1, 'the request is there')
  abort.abort(new Error('stopping'))
  await expect(result).rejects.toThrow('stopping')
  await until(() => server.open.size === 0, 'the connection is closed')
  await expect(post('http://127.0.0.1:1/', { signal: abort.signal })).rejects.toThrow('stopping')
})

test('hours of a clock that was moved do not make a wait of Retry-After endless', async () => {
  const at = async (text: string) => {
    const server = await listener((socket) =>
      socket.end(answer('429 No', `Retry-After: ${text}\r\n`)),
    )
    const result = await post(`http://127.0.0.1:${server.port}/`)
    return result.kind === 'answer' ? result.retryAfterMs : result
  }
  expect(await at('120')).toBe(120_000)
  expect(await at('99999999')).toBe(86_400_000)
  expect(await at('Wed, 21 Oct 2015 07:28:00 GMT')).toBe(0)
  expect(await at('soon')).toBeUndefined()
  expect(await at('-5')).toBeUndefined()
  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString()
  expect(await at(inAnHour)).toBeWithin(3_590_000, 3_600_001)
})
