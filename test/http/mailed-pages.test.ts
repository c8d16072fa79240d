import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { LINKS } from '../../src/auth/mailbox/links.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

const PAGES = [
  ...Object.values(LINKS).map(({ page }) => page),
  'forgot-password',
  'cancel-recovery',
  'accept-invitation',
]

let mail: MailServer
let server: TestServer
beforeAll(async () => {
  mail = await mailServer()
  server = await testServer({ env: mail.env })
})
afterAll(async () => {
  await server.stop()
  await mail.close()
})

const get = (path: string, method = 'GET') => fetch(`${server.url}/account/${path}`, { method })

/** What a browser has of a page: enough for its script. */
async function browse(page: string, hash: string, typed: Record<string, string> = {}) {
  const html = await (await get(`${page}?lang=en`)).text()
  const script = await (await get('page.js')).text()
  const attribute = (name: string) =>
    (new RegExp(`data-${name}="([^"]*)"`).exec(html)?.[1] ?? '')
      .replaceAll('&quot;', '"')
      .replaceAll('&amp;', '&')
  let submit: ((event: { preventDefault(): void }) => Promise<void>) | undefined
  const outcome = { textContent: '' }
  const button = { disabled: false }
  const form = {
    hidden: false,
    dataset: { calls: attribute('calls'), token: attribute('token'), says: attribute('says') },
    querySelector: () => button,
    addEventListener: (_name: string, listener: typeof submit) => (submit = listener),
  }
  const location = { hash, pathname: `/account/${page}`, search: '?lang=en' }
  const shown: string[] = []
  const requests: string[] = []
  const world = {
    document: { querySelector: () => form, getElementById: () => outcome },
    location,
    history: { replaceState: (_state: null, _title: string, url: string) => shown.push(url) },
    URLSearchParams,
    FormData: function FormData() {
      return Object.entries(typed)
    },
    fetch: (path: string, init: RequestInit) => {
      requests.push(path)
      return fetch(`${server.url}${path}`, init)
    },
  }
  runInNewContext(script, world)
  return {
    form,
    outcome,
    shown,
    requests,
    press: () => submit?.({ preventDefault: () => undefined }),
  }
}

test.each(PAGES)('%s is there in two languages, loads nothing from elsewhere', async (page) => {
  for (const [lang, tag] of [
    ['en', 'en'],
    ['fr', 'fr'],
    ['xx', 'en'],
  ]) {
    const answer = await get(`${page}?lang=${lang}`)
    expect(answer.status).toBe(200)
    const policy = answer.headers.get('content-security-policy')
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
    const html = await answer.text()
    expect(html).toContain(`<html lang="${tag}">`)
    expect(html).not.toMatch(/<script(?![^>]*src="\/account\/page\.js")|style=|https?:|\son[a-z]+=/)
  }
})

test('opening a page uses nothing up; pressing its button does', async () => {
  const ann = await person(server, 'ann')
  const { token, page } = await mail.wait(ann.email)
  for (const method of ['GET', 'HEAD', 'GET']) {
    expect((await get(`${page}?lang=en&token=${token}`, method)).status).toBe(200)
  }
  const browser = await browse(page, `#token=${token}`)
  expect(browser.requests).toEqual([])
  const me = async () =>
    (await rest(server, 'GET', '/api/v1/auth/me', { token: ann.token })).body.email_verified
  expect(await me()).toBe(false)
  await browser.press()
  expect(await me()).toBe(true)
  expect(browser.requests).toEqual(['/api/v1/auth/email/verify'])
  expect(browser.outcome.textContent).toBe('Thank you. Your address is confirmed.')
  // The secret is neither in the address bar nor in the history any more.
  expect(browser.shown).toEqual(['/account/verify-email?lang=en'])
  expect(browser.form.hidden).toBe(true)
})

test('a new password is set from the page, and a used link says so', async () => {
  const ann = await person(server, 'ann')
  const asking = await browse('forgot-password', '', { email: ann.email })
  await asking.press()
  expect(asking.outcome.textContent).toContain('the link is on its way')
  const { token, page } = await mail.wait(ann.email, 2)
  expect(page).toBe('reset-password')
  const choosing = await browse(page, `#token=${token}`, { password: 'a password of the page' })
  await choosing.press()
  expect(choosing.outcome.textContent).toContain('You can sign in')
  const again = await browse(page, `#token=${token}`, { password: 'a password of the page' })
  await again.press()
  expect(again.outcome.textContent).toContain('used before, or has expired')
  const login = { email: ann.email, password: 'a password of the page' }
  expect((await rest(server, 'POST', '/api/v1/auth/login', { body: login })).status).toBe(200)
})

test('an address without its secret says so, and asks nobody', async () => {
  const browser = await browse('reset-password', '')
  expect(browser.outcome.textContent).toContain('incomplete')
  expect(browser.form.hidden).toBe(true)
  expect(browser.requests).toEqual([])
})

test('every page calls an operation that takes what it sends', async () => {
  const { operations } = server.registry
  const byRoute = new Map(
    [...operations.values()].flatMap((one) =>
      one.routes.map(({ method, path }) => [`${method} /api/v1${path}` as string, one] as const),
    ),
  )
  for (const page of PAGES) {
    const html = await (await get(page)).text()
    const calls = /data-calls="([^"]*)"/.exec(html)?.[1]
    const operation = byRoute.get(`POST ${calls}`)
    const fields = [...html.matchAll(/<input name="(\w+)"/g)].map(([, name]) => name as string)
    if (html.includes('data-token="true"')) fields.push('token')
    expect([page, Object.keys(operation?.input.properties ?? {})]).toEqual([
      page,
      expect.arrayContaining(fields),
    ])
  }
})
