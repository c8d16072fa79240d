/** What a page may ask for besides a press of its button. */
export type FieldName = 'password' | 'email' | 'username'

/** What a page says in one language. */
export interface PageText {
  readonly title: string
  readonly says: string
  readonly button: string
  readonly done: string
}

/** A page that a link in a mail leads to; its button calls one operation. */
export interface Page {
  /** Route of the operation, below `/api/v1`. */
  readonly calls: string
  /** Needs the secret of a link. */
  readonly token: boolean
  readonly fields: readonly FieldName[]
  readonly en: PageText
  readonly fr: PageText
}
