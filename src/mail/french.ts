import type { Language, Writers, Writing } from './english.ts'
import type { Part } from './layout.ts'
import type { Origin } from './letters.ts'

const origin = ({ at, device, address }: Origin, { moment }: Writing): Part => ({
  facts: [
    ['Date', moment(at)],
    ['Appareil', device ?? 'inconnu'],
    ['Adresse réseau', address],
  ],
})
const notYou = ({ forgotLink }: Writing): Part[] => [
  'Si ce n’était pas vous, quelqu’un connaît peut-être votre mot de passe. Choisissez-en un ' +
    'nouveau dès maintenant\u00a0; tous les appareils seront alors déconnectés.',
  { press: 'Choisir un nouveau mot de passe', link: forgotLink },
]

const letters: Writers = {
  verify_email: ({ link, expires_at }, { moment }) => ({
    subject: 'Veuillez confirmer votre adresse',
    parts: [
      'Bonjour,',
      'Un compte a été ouvert avec cette adresse. Merci de confirmer qu’elle est bien la vôtre, ' +
        'afin que nous puissions vous joindre en cas de besoin, par exemple pour choisir un ' +
        'nouveau mot de passe.',
      { press: 'Confirmer mon adresse', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${moment(expires_at)}.`,
      'Si vous n’avez pas ouvert de compte, vous n’avez rien à faire.',
    ],
  }),
  unverified_reminder: ({ link, expires_at, closes_at }, { moment }) => ({
    subject: 'Votre adresse n’est pas encore confirmée',
    parts: [
      'Bonjour,',
      'Il y a quelques jours, un compte a été ouvert avec cette adresse, que personne n’a encore ' +
        'confirmée.',
      { press: 'Confirmer mon adresse', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${moment(expires_at)}.`,
      'Si le compte n’est pas utilisé et que l’adresse n’est pas confirmée, nous le fermerons ' +
        `après le ${moment(closes_at)}. Si vous ne l’avez pas ouvert, vous n’avez rien à faire.`,
    ],
  }),
  reset_password: ({ link, expires_at, ...from }, writing) => ({
    subject: 'Choisir un nouveau mot de passe',
    parts: [
      'Bonjour,',
      'Quelqu’un a demandé un nouveau mot de passe pour le compte lié à cette adresse.',
      { press: 'Choisir un nouveau mot de passe', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${writing.moment(expires_at)}\u00a0; un ` +
        'lien plus récent le remplace.',
      'Si ce n’était pas vous, vous n’avez rien à faire\u00a0: sans ce lien, rien ne change.',
      origin(from, writing),
    ],
  }),
  password_changed: (from, writing) => ({
    subject: 'Votre mot de passe a été modifié',
    parts: [
      'Bonjour,',
      'Le mot de passe de votre compte a été modifié, et vos autres appareils ont été déconnectés.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  email_change_confirm: ({ link, expires_at }, { moment }) => ({
    subject: 'Veuillez confirmer votre nouvelle adresse',
    parts: [
      'Bonjour,',
      'Quelqu’un souhaite utiliser cette adresse pour son compte. Si c’est vous, merci de la ' +
        'confirmer\u00a0; d’ici là, votre compte garde son ancienne adresse.',
      { press: 'Utiliser cette adresse', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${moment(expires_at)}.`,
      'Si ce n’était pas vous, vous n’avez rien à faire.',
    ],
  }),
  email_change_taken: ({ at }, { moment }) => ({
    subject: 'Votre adresse est déjà utilisée',
    parts: [
      'Bonjour,',
      `Le ${moment(at)}, quelqu’un a voulu utiliser cette adresse pour son compte, mais elle est ` +
        'déjà celle du vôtre. Rien n’a changé.',
      'Si c’était vous\u00a0: vous avez un second compte, avec cette adresse. Connectez-vous à ' +
        'celui-ci, ou fermez-le avant d’utiliser l’adresse ailleurs.',
    ],
  }),
  email_changed: ({ link, expires_at, new_email, ...from }, writing) => ({
    subject: 'L’adresse de votre compte a été modifiée',
    parts: [
      'Bonjour,',
      `Votre compte a désormais l’adresse ${new_email}. Celle-ci n’est plus utilisée.`,
      origin(from, writing),
      'Si ce n’était pas vous, annulez ce changement. Votre compte retrouve cette adresse, tous ' +
        'les appareils sont déconnectés, et nous vous envoyons un lien pour choisir un nouveau ' +
        'mot de passe.',
      { press: 'Ce n’était pas moi', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${writing.moment(expires_at)}.`,
    ],
  }),
  email_reverted: ({ at }, { moment }) => ({
    subject: 'Le changement de votre adresse a été annulé',
    parts: [
      'Bonjour,',
      `Le ${moment(at)}, le changement d’adresse de votre compte a été annulé depuis l’ancienne ` +
        'adresse. Tous les appareils ont été déconnectés, et l’ancien mot de passe ne fonctionne ' +
        'plus.',
      'Pour vous reconnecter, choisissez un nouveau mot de passe avec le lien envoyé à ' +
        'l’ancienne adresse.',
    ],
  }),
  new_device: (from, writing) => ({
    subject: 'Un nouvel appareil s’est connecté',
    parts: [
      'Bonjour,',
      'Quelqu’un s’est connecté à votre compte sur un appareil que nous n’avions encore jamais vu.',
      origin(from, writing),
      'Si c’était vous, vous n’avez rien à faire.',
      ...notYou(writing),
    ],
  }),
  mfa_enabled: (from, writing) => ({
    subject: 'Votre compte demande désormais un second facteur',
    parts: [
      'Bonjour,',
      'Désormais, la connexion à votre compte demande un code en plus du mot de passe. Merci de ' +
        'garder vos codes de secours en lieu sûr.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  mfa_disabled: (from, writing) => ({
    subject: 'Votre compte ne demande plus de second facteur',
    parts: [
      'Bonjour,',
      'Désormais, votre mot de passe suffit pour se connecter à votre compte.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  recovery_code_used: ({ codes_left, ...from }, writing) => ({
    subject: 'Un code de secours a été utilisé',
    parts: [
      'Bonjour,',
      `Un de vos codes de secours a été utilisé. Il vous en reste ${codes_left}.` +
        (codes_left < 3 ? ' Merci d’en créer de nouveaux bientôt.' : ''),
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  recovery_started: ({ completes_at, link, ...from }, writing) => ({
    subject: 'Quelqu’un veut supprimer votre second facteur',
    parts: [
      'Bonjour,',
      'Une personne qui connaît votre mot de passe déclare avoir perdu l’appareil et les codes ' +
        `de secours de votre compte. Le ${writing.moment(completes_at)}, elle pourra supprimer ` +
        'le second facteur.',
      origin(from, writing),
      'Si ce n’était pas vous, arrêtez cette demande maintenant et choisissez un nouveau mot de ' +
        'passe.',
      { press: 'Arrêter cette demande', link },
    ],
  }),
  recovery_reminder: ({ completes_at, link }, { moment }) => ({
    subject: 'Votre second facteur sera bientôt supprimé',
    parts: [
      'Bonjour,',
      'Comme annoncé, le second facteur de votre compte pourra être supprimé à partir du ' +
        `${moment(completes_at)}.`,
      'Si vous n’avez rien demandé, arrêtez cette demande maintenant et choisissez un nouveau ' +
        'mot de passe.',
      { press: 'Arrêter cette demande', link },
    ],
  }),
  recovery_completed: ({ at }, writing) => ({
    subject: 'Votre second facteur a été supprimé',
    parts: [
      'Bonjour,',
      `Le ${writing.moment(at)}, le second facteur de votre compte a été supprimé et tous les ` +
        'appareils ont été déconnectés. Merci d’en configurer un nouveau bientôt.',
      ...notYou(writing),
    ],
  }),
  admin_invitation: ({ link, expires_at, inviter }, { moment }) => ({
    subject: 'Invitation à administrer le service',
    parts: [
      'Bonjour,',
      `${inviter} vous invite à rejoindre l’administration du service. Il vous faudra un second ` +
        'facteur (une application qui affiche des codes).',
      { press: 'Accepter l’invitation', link },
      `Le lien ne fonctionne qu’une fois, jusqu’au ${moment(expires_at)}. Si vous ne savez pas ` +
        'de quoi il s’agit, vous n’avez rien à faire.',
    ],
  }),
  account_blocked: ({ at, reason }, { moment }) => ({
    subject: 'Votre compte est bloqué',
    parts: [
      'Bonjour,',
      `Le ${moment(at)}, un administrateur a bloqué votre compte. Pour le moment, vous ne pouvez ` +
        'pas vous connecter\u00a0; rien de ce qui est à vous n’a été supprimé.',
      ...(reason === null ? [] : [{ facts: [['Motif', reason]] } as const]),
    ],
  }),
  account_unblocked: ({ at }, { moment }) => ({
    subject: 'Votre compte est de nouveau ouvert',
    parts: [
      'Bonjour,',
      `Depuis le ${moment(at)}, votre compte est de nouveau ouvert et vous pouvez vous connecter.`,
    ],
  }),
  account_closed: ({ at }, { moment }) => ({
    subject: 'Votre compte est fermé',
    parts: [
      'Bonjour,',
      `Le ${moment(at)}, votre compte a été fermé et ce qui vous identifiait a été effacé. Ceci ` +
        'est le dernier message à cette adresse. Merci d’avoir été des nôtres.',
    ],
  }),
  account_export_ready: ({ expires_at }, { moment }) => ({
    subject: 'Vos données sont prêtes',
    parts: [
      'Bonjour,',
      'La copie de vos données que vous avez demandée est prête. Connectez-vous à votre compte ' +
        `pour la récupérer, jusqu’au ${moment(expires_at)}.`,
    ],
  }),
  api_key_created: ({ at, name, by, scopes }, { moment }) => ({
    subject: 'Une nouvelle clé d’API a été créée',
    parts: [
      'Bonjour,',
      'Vous recevez ce message en tant qu’administrateur\u00a0: une nouvelle clé d’API a été ' +
        'créée.',
      {
        facts: [
          ['Date', moment(at)],
          ['Nom', name],
          ['Par', by],
          ['Droits', scopes.join(', ')],
        ],
      },
      'Si aucun d’entre vous ne l’a créée, révoquez-la maintenant.',
    ],
  }),
  webhook_disabled: ({ at, host, because }, { moment }) => ({
    subject: 'Un webhook a été désactivé',
    parts: [
      'Bonjour,',
      'Vous recevez ce message en tant qu’administrateur\u00a0: le serveur n’envoie plus ' +
        'd’événements à un webhook.',
      {
        facts: [
          ['Date', moment(at)],
          ['Hôte', host],
          ['Raison', `${DISABLED_BECAUSE[because]} (${because})`],
        ],
      },
      'Les événements sont conservés trois jours\u00a0: ceux qu’il a manqués d’ici là pourront ' +
        'encore être envoyés.',
    ],
  }),
}

const DISABLED_BECAUSE = {
  gone: 'il a répondu qu’il n’existe plus',
  failing: 'toutes les tentatives ont échoué depuis trois jours',
  key_ended: 'la clé d’API à laquelle il appartient n’est plus valable',
} as const

/** The letters in French. */
export const french: Language = {
  closing:
    'Ce message a été envoyé automatiquement parce qu’il concerne votre compte. Nous ne ' +
    'demandons jamais votre mot de passe ni un code par courriel ou par téléphone.',
  colon: '\u00a0: ',
  letters,
}
