/** What the product asks of whoever carries out payouts. */
export interface PayoutDriver {
  /** Whether it can carry such a payment out, as far as that can be told beforehand. */
  takes(payment: Pick<PayoutPayment, 'name' | 'cents'>): boolean
  /**
   * The order as it will be handed over: the same batch gives the same bytes. Pure; stored before
   * anything is handed over.
   */
  render(batch: PayoutBatch): Uint8Array
  /**
   * Hands an order over. Harmless to repeat: an order of the same id and bytes that is there
   * already is left as it is.
   * @throws PayoutConflict when there is another one under this id
   */
  submit(messageId: string, content: Uint8Array): Promise<Delivery>
  /** What became of an order after a crash; undefined when it never got there. */
  find(messageId: string): Promise<Delivery | undefined>
}

/** An order that is with the other side. */
export interface Delivery {
  /** What it is called there. */
  readonly name: string
  readonly sha256: Buffer
}

/** There is an order of this id already, and it says something else. */
export class PayoutConflict extends Error {
  override readonly name = 'PayoutConflict'
}

/** Payments that are ordered together. */
export interface PayoutBatch {
  /** At most 32 characters; the bank refuses a second order of the same one. */
  readonly messageId: string
  readonly createdAt: Date
  readonly debtor: PayoutDebtor
  readonly payments: readonly PayoutPayment[]
}

/** Whose account it is paid from. */
export interface PayoutDebtor {
  readonly name: string
  readonly iban: string
  readonly bic?: string
}

/** One payment. */
export interface PayoutPayment {
  /** At most 32 characters; comes back with the bank's answer. */
  readonly endToEndId: string
  /** In cents. */
  readonly cents: bigint
  readonly name: string
  readonly iban: string
  /** What the payee reads; at most 140 characters. */
  readonly text: string
}
