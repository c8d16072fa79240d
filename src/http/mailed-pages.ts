import type { FieldName, Page } from '../kernel/page.ts'
import type { Edge } from './edge.ts'
import type { MountedRoute } from './fallback.ts'
import { cached, textRoute } from './pages.ts'
import { systemRoute } from './system.ts'

/**
 * Where the links of mails lead. Opening one does nothing yet (mail scanners open every link): the
 * page uses the secret behind the `#` when somebody presses its button, by calling the operation as
 * any client would. Features bring the pages in their manifests. Plain HTML and one script of this
 * server; without scripts nothing happens.
 */

const LANGUAGES = ['en', 'fr'] as const
type Language = (typeof LANGUAGES)[number]

/** What a page asks for besides a press of its button. */
const FIELDS = {
  password: {
    html: 'type="password" autocomplete="new-password" minlength="8" maxlength="200" required',
    en: 'New password (at least 8 characters)',
    fr: 'Nouveau mot de passe (au moins 8 caractères)',
  },
  email: {
    html: 'type="email" autocomplete="email" maxlength="254" required',
    en: 'Mail address',
    fr: 'Adresse électronique',
  },
  username: {
    html: 'type="text" autocomplete="username" pattern="[A-Za-z0-9._\\-]{3,50}"',
    en: 'Name (may be left empty)',
    fr: 'Nom (facultatif)',
  },
} as const satisfies Record<FieldName, Record<Language | 'html', string>>

/** Shown instead of `done`, by error code. */
const TROUBLES = {
  en: {
    invalid_link: 'This link was used before, or has expired. Ask for a new one.',
    already_exists: 'This address or name meanwhile belongs to somebody else.',
    validation_failed: 'Please look at what you have entered.',
    rate_limited: 'Too many tries. Please wait a while.',
    forbidden: 'This account is blocked.',
    incomplete: 'This address is incomplete. Open the link of the message once more.',
    other: 'That did not work. Please try again later.',
  },
  fr: {
    invalid_link: 'Ce lien a déjà été utilisé ou a expiré. Demandez-en un nouveau.',
    already_exists: 'Cette adresse ou ce nom appartient désormais à quelqu’un d’autre.',
    validation_failed: 'Merci de vérifier votre saisie.',
    rate_limited: 'Trop d’essais. Merci de patienter un moment.',
    forbidden: 'Ce compte est bloqué.',
    incomplete: 'Cette adresse est incomplète. Ouvrez de nouveau le lien du message.',
    other: 'Cela n’a pas fonctionné. Merci de réessayer plus tard.',
  },
} as const satisfies Record<Language, Record<string, string>>

const NO_SCRIPT = {
  en: 'This page needs JavaScript.',
  fr: 'Cette page a besoin de JavaScript.',
} as const

const FOLDER = '/account'

/** The pages and what they load. */
export function accountRoutes(edge: Edge): MountedRoute[] {
  return [
    ...[...edge.registry.pages].map(([name, page]) => pageRoute(edge, name, page)),
    textRoute(edge, `${FOLDER}/page.js`, 'text/javascript; charset=utf-8', () => SCRIPT),
    textRoute(edge, `${FOLDER}/page.css`, 'text/css; charset=utf-8', () => STYLE),
  ]
}

function pageRoute(edge: Edge, name: string, page: Page): MountedRoute {
  const made = new Map(LANGUAGES.map((language) => [language, htmlOf(page, language)]))
  return systemRoute(edge, `${FOLDER}/${name}`, (call, log) => {
    const wanted = /[?&]lang=fr(?:&|$)/.test(call.request.url) ? 'fr' : 'en'
    const html = made.get(wanted) as string
    const tag = `"${Bun.hash(html).toString(36)}"`
    return cached(edge, call, log, tag, html, 'text/html; charset=utf-8')
  })
}

function htmlOf(page: Page, language: Language): string {
  const { title, says, button, done } = page[language]
  const messages = attribute(JSON.stringify({ ...TROUBLES[language], done }))
  const fields = page.fields.map(
    (name) =>
      `<label>${FIELDS[name][language]}<input name="${name}" ${FIELDS[name].html}></label>\n`,
  )
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<link rel="stylesheet" href="${FOLDER}/page.css">
<script src="${FOLDER}/page.js" defer></script>
</head>
<body>
<main>
<h1>${title}</h1>
<p>${says}</p>
<form data-calls="/api/v1${page.calls}" data-token="${page.token}" data-says="${messages}">
${fields.join('')}<button>${button}</button>
</form>
<p id="outcome" role="status"></p>
<noscript><p>${NO_SCRIPT[language]}</p></noscript>
</main>
</body>
</html>
`
}

const attribute = (text: string) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;')

// The secret leaves the address bar, and with it the browser's history, once it is used up.
const SCRIPT = `const form = document.querySelector('form')
const outcome = document.getElementById('outcome')
const says = JSON.parse(form.dataset.says)
const button = form.querySelector('button')
const token = new URLSearchParams(location.hash.slice(1)).get('token')
const needsToken = form.dataset.token === 'true'

function show(code) {
  outcome.textContent = says[code] ?? says.other
}

async function call() {
  const body = needsToken ? { token } : {}
  for (const [name, value] of new FormData(form)) if (value !== '') body[name] = value
  const response = await fetch(form.dataset.calls, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    credentials: 'omit',
  })
  if (response.ok) return 'done'
  const problem = await response.json()
  return problem.code
}

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  button.disabled = true
  outcome.textContent = '…'
  let code = 'other'
  try {
    code = await call()
  } catch {
    // Not reached, or not an answer of ours.
  }
  show(code)
  if (code === 'done' || code === 'invalid_link') {
    history.replaceState(null, '', location.pathname + location.search)
    form.hidden = true
  } else {
    button.disabled = false
  }
})

if (needsToken && token === null) {
  show('incomplete')
  form.hidden = true
}
`

const STYLE = `:root { color-scheme: light dark }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif }
main { max-width: 32em; margin: 10vh auto; padding: 0 1.5em }
label { display: block; margin: 1em 0 }
input { display: block; box-sizing: border-box; width: 100%; padding: .6em; font: inherit }
button { margin-top: 1em; padding: .6em 1.2em; font: inherit; cursor: pointer }
form[hidden] { display: none }
`
