import type { Page } from '../kernel/page.ts'

/** The pages that links of mails lead to, by the last part of their path. */
export const PAGES: Readonly<Record<string, Page>> = {
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
