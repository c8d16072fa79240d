import { describe, expect, test } from 'bun:test'
import {
  addressGroup,
  arrivedByTls,
  canonicalAddress,
  clientAddress,
  trustedProxies,
} from '../../src/net/address.ts'

const request = (headers: Record<string, string> = {}, url = 'http://rialto.example/') =>
  new Request(url, { headers })
const forwarded = (value: string) => request({ 'x-forwarded-for': value })

describe('the client address', () => {
  const proxies = trustedProxies(['10.0.0.0/8', '2001:db8::/32', '127.0.0.1'])
  test.each([
    ['no header: the socket', request(), '10.0.0.1', '10.0.0.1'],
    ['one hop', forwarded('203.0.113.9'), '10.0.0.1', '203.0.113.9'],
    ['forged entries on the left', forwarded('1.1.1.1, 203.0.113.9'), '10.0.0.1', '203.0.113.9'],
    ['through several proxies', forwarded('203.0.113.9, 10.2.2.2'), '10.0.0.1', '203.0.113.9'],
    ['all of them proxies', forwarded('10.3.3.3,10.2.2.2'), '10.0.0.1', '10.3.3.3'],
    ['from a stranger: ignored', forwarded('203.0.113.9'), '198.51.100.1', '198.51.100.1'],
    ['mapped socket', forwarded('203.0.113.9'), '::ffff:10.0.0.1', '203.0.113.9'],
    ['mapped entry', forwarded('::ffff:203.0.113.9'), '10.0.0.1', '203.0.113.9'],
    ['IPv6 proxy and client', forwarded('2001:DB9:0::1'), '2001:db8::7', '2001:db9::1'],
    ['ports are cut off', forwarded('203.0.113.9:4711'), '10.0.0.1', '203.0.113.9'],
    ['IPv6 with a port', forwarded('[2001:db9::1]:4711'), '10.0.0.1', '2001:db9::1'],
    ['rubbish ends the walk', forwarded('9.9.9.9, rubbish, 10.2.2.2'), '10.0.0.1', '10.2.2.2'],
    [
      '`Forwarded` alone is not read',
      request({ forwarded: 'for=9.9.9.9' }),
      '10.0.0.1',
      '10.0.0.1',
    ],
  ])('%s', (_, asked, socket, expected) => {
    expect(clientAddress(asked, socket, proxies)).toBe(expected)
  })

  test('without trusted proxies, no header counts', () => {
    expect(clientAddress(forwarded('9.9.9.9'), '127.0.0.1', trustedProxies([]))).toBe('127.0.0.1')
  })

  test('a chain of thousands is cut', () => {
    const chain = Array.from({ length: 5_000 }, () => '10.0.0.2').join(',')
    expect(clientAddress(forwarded(`9.9.9.9,${chain}`), '10.0.0.1', proxies)).toBe('10.0.0.2')
  })
})

describe('trusted networks', () => {
  test.each([
    ['192.168.0.0/16', '192.168.255.1', true],
    ['192.168.0.0/16', '192.169.0.1', false],
    ['::ffff:192.168.0.0/112', '192.168.3.4', true],
    ['::ffff:192.168.0.0/112', '192.169.3.4', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['0.0.0.0/0', '::1', false],
    ['::1', '::1', true],
  ])('%s and %s: %p', (network, address, expected) => {
    expect(trustedProxies([network]).has(address)).toBe(expected)
  })

  test('what is neither address nor network is refused', () => {
    expect(() => trustedProxies(['localhost'])).toThrow('not an address or network: localhost')
  })
})

test.each([
  ['::FFFF:1.2.3.4', '1.2.3.4'],
  ['0:0:0:0:0:ffff:7f00:1', '127.0.0.1'],
  ['2001:DB8:0:0::1', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['01.2.3.4', undefined],
  ['1.2.3.4.5', undefined],
  ['', undefined],
])('canonical %s is %p', (text, expected) => {
  expect(canonicalAddress(text)).toBe(expected as string)
})

test.each([
  ['203.0.113.9', '203.0.113.9'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::', '2001:db8:1:2'],
  ['2001:db8::9', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
])('limits count %s as %s', (address, group) => {
  expect(addressGroup(address)).toBe(group)
})

describe('whether a request arrived encrypted', () => {
  const proxies = trustedProxies(['10.0.0.0/8'])
  const said = (proto: string) => request({ 'x-forwarded-proto': proto })
  test.each([
    ['own TLS', request({}, 'https://rialto.example/'), '198.51.100.1', true],
    ['a trusted proxy says so', said('https'), '10.0.0.1', true],
    ['in another case', said('HTTPS'), '10.0.0.1', true],
    ['a trusted proxy says http', said('http'), '10.0.0.1', false],
    ['the proxy’s own word is the last', said('https, http'), '10.0.0.1', false],
    ['a trusted proxy says nothing', request(), '10.0.0.1', false],
    ['a stranger says so', said('https'), '198.51.100.1', false],
  ])('%s', (_, asked, socket, expected) => {
    expect(arrivedByTls(asked, socket, proxies)).toBe(expected)
  })
})
