import type { Edge } from './edge.ts'
import type { MountedRoute } from './fallback.ts'
import { cached, textRoute } from './pages.ts'
import { systemRoute } from './system.ts'

/**
 * Where the links of mails lead. Opening one does nothing yet (mail scanners open every link): the
 * page uses the secret behind the `#` when somebody presses its button, by calling the operation as
 * any client would. Plain HTML and one script of this server; without scripts nothing happens.
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
} as const
type FieldName = keyof typeof FIELDS

interface Words {
  readonly title: string
  readonly says: string
  readonly button: string
  readonly done: string
}

interface Page {
  /** Route of the operation, below `/api/v1`. */
  readonly calls: string
  /** Needs the secret of a link. */
  readonly token: boolean
  readonly fields: readonly FieldName[]
  readonly en: Words
  readonly fr: Words
}

/** By the last part of their path. */
const PAGES: Readonly<Record<string, Page>> = {
  'verify-email': {
    calls: '/auth/email/verify',
    token: true,
    fields: [],
    en: {
      title: 'Confirm your address',
      says: 'Please confirm that this address is yours.',
      button: 'Confirm',
      done: 'Thank you. Your address is confirmed.',
    },
    fr: {
      title: 'Confirmer votre adresse',
      says: 'Merci de confirmer que cette adresse est la vôtre.',
      button: 'Confirmer',
      done: 'Merci. Votre adresse est confirmée.',
    },
  },
  'confirm-email': {
    calls: '/auth/email/confirm',
    token: true,
    fields: [],
    en: {
      title: 'Use this address',
      says: 'From now on, your account will have the address that this message was sent to.',
      button: 'Use this address',
      done: 'Done. Your account now has this address.',
    },
    fr: {
      title: 'Utiliser cette adresse',
      says: 'Votre compte aura désormais l’adresse à laquelle ce message a été envoyé.',
      button: 'Utiliser cette adresse',
      done: 'C’est fait. Votre compte a maintenant cette adresse.',
    },
  },
  'revert-email': {
    calls: '/auth/email/revert',
    token: true,
    fields: [],
    en: {
      title: 'Take the change back',
      says:
        'Your account gets its old address again, every device is signed out, and you receive a ' +
        'link for a new password.',
      button: 'This was not me: take it back',
      done: 'Done. We have sent you a link for a new password.',
    },
    fr: {
      title: 'Annuler le changement',
      says:
        'Votre compte retrouve son ancienne adresse, tous les appareils sont déconnectés, et ' +
        'vous recevez un lien pour choisir un nouveau mot de passe.',
      button: 'Ce n’était pas moi : annuler',
      done: 'C’est fait. Nous vous avons envoyé un lien pour choisir un nouveau mot de passe.',
    },
  },
  'reset-password': {
    calls: '/auth/password/reset',
    token: true,
    fields: ['password'],
    en: {
      title: 'Choose a new password',
      says: 'Every device will be signed out.',
      button: 'Set the password',
      done: 'Done. You can sign in with the new password.',
    },
    fr: {
      title: 'Choisir un nouveau mot de passe',
      says: 'Tous les appareils seront déconnectés.',
      button: 'Enregistrer',
      done: 'C’est fait. Vous pouvez vous connecter avec le nouveau mot de passe.',
    },
  },
  'forgot-password': {
    calls: '/auth/password/forgot',
    token: false,
    fields: ['email'],
    en: {
      title: 'Ask for a new password',
      says: 'We send a link to the address of your account.',
      button: 'Send the link',
      done: 'If there is an account with this address, the link is on its way.',
    },
    fr: {
      title: 'Demander un nouveau mot de passe',
      says: 'Nous envoyons un lien à l’adresse de votre compte.',
      button: 'Envoyer le lien',
      done: 'S’il existe un compte avec cette adresse, le lien est en route.',
    },
  },
  'cancel-recovery': {
    calls: '/auth/recovery/cancel',
    token: true,
    fields: [],
    en: {
      title: 'Keep the second factor',
      says: 'The second factor of your account stays, and the request to remove it ends.',
      button: 'Keep it',
      done: 'Done. Please choose a new password too: whoever asked knows the old one.',
    },
    fr: {
      title: 'Garder le second facteur',
      says: 'Le second facteur de votre compte reste, et la demande de suppression prend fin.',
      button: 'Le garder',
      done: 'C’est fait. Changez aussi votre mot de passe : l’auteur de la demande le connaît.',
    },
  },
  'accept-invitation': {
    calls: '/admin/invitations/accept',
    token: true,
    fields: ['username', 'password'],
    en: {
      title: 'Become an administrator',
      says: 'Choose a name and a password for your account.',
      button: 'Accept the invitation',
      done: 'Welcome. Sign in and set up your second factor.',
    },
    fr: {
      title: 'Rejoindre l’administration',
      says: 'Choisissez un nom et un mot de passe pour votre compte.',
      button: 'Accepter l’invitation',
      done: 'Bienvenue. Connectez-vous et configurez votre second facteur.',
    },
  },
}

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
    ...Object.keys(PAGES).map((name) => pageRoute(edge, name)),
    textRoute(edge, `${FOLDER}/page.js`, 'text/javascript; charset=utf-8', () => SCRIPT),
    textRoute(edge, `${FOLDER}/page.css`, 'text/css; charset=utf-8', () => STYLE),
  ]
}

function pageRoute(edge: Edge, name: string): MountedRoute {
  const page = PAGES[name] as Page
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
