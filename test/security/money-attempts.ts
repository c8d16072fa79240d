import { type Attempt, type Belongings, hersNotMine, upper } from './attempt.ts'

/** What a user may try with the money of another: rows of `attempts.ts`. */

/** What only administrators may do: refused before anything is looked at. */
const ADMINS: Readonly<Record<string, (hers: Belongings) => Record<string, unknown>>> = {
  'ledger.check': () => ({}),
  'ledger.accounts': ({ userId }) => ({ owner_id: userId }),
  'ledger.statement': () => ({ account_id: '1' }),
  'ledger.acts': () => ({ act_id: '1' }),
  'ledger.reversals.request': () => ({ act_id: '1', reason: 'I want it back' }),
  'ledger.reversals': () => ({ state: 'pending' }),
  'ledger.reversals.approve': ({ payoutId }) => ({ id: payoutId }),
  'ledger.reversals.reject': ({ payoutId }) => ({ id: payoutId }),
  'ledger.statements.enter': () => ({
    account_id: '1',
    at: '2026-01-01T00:00:00Z',
    balance: '1',
    reference: 'mine',
  }),
  'ledger.reconciliation': () => ({}),
  'ledger.reconcile': () => ({}),
  'funding.payments': ({ userId }) => ({ of_user_id: userId }),
  'funding.payments.resolve': () => ({ provider: 'stripe', payment_id: 'pi_1', note: 'mine' }),
  'funding.assignments': () => ({}),
  'funding.assignments.request': ({ userId }) => ({
    provider: 'stripe',
    payment_id: 'pi_1',
    to_user_id: userId,
    reason: 'mine',
  }),
  'funding.assignments.approve': ({ payoutId }) => ({ id: payoutId }),
  'funding.assignments.reject': ({ payoutId }) => ({ id: payoutId }),
  'funding.bank': () => ({}),
  'funding.bank.enter': ({ userId }) => ({
    to_user_id: userId,
    amount: '1000',
    bank_reference: 'MINE 1',
    value_date: '2026-01-01',
  }),
  'funding.bank.confirm': ({ payoutId }) => ({ id: payoutId }),
  'funding.bank.reject': ({ payoutId }) => ({ id: payoutId }),
  'payouts.approvals': () => ({}),
  'payouts.approve': ({ payoutId }) => ({ id: payoutId }),
  'payouts.reject': ({ payoutId }) => ({ id: payoutId }),
  'payouts.queue': ({ userId }) => ({ of_user_id: userId }),
  'payouts.files': () => ({}),
  'payouts.files.create': () => ({}),
  'payouts.files.get': ({ payoutId }) => ({ file_id: payoutId }),
  'payouts.files.settle': ({ payoutId }) => ({ file_id: payoutId }),
  'payouts.settle': ({ payoutId }) => ({ payout_id: payoutId }),
  'payouts.fail': ({ payoutId }) => ({ payout_id: payoutId, reason: 'mine' }),
}

/** By operation of the ledger, of funding and of payouts. */
export const MONEY_ATTEMPTS: Readonly<Record<string, readonly Attempt[]>> = {
  ...Object.fromEntries(
    Object.entries(ADMINS).map(([name, given]): [string, Attempt[]] => [
      name,
      [{ input: given, expect: 'forbidden' }],
    ]),
  ),
  'wallet.balances': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ userId }) => ({ owner_id: userId }), expect: 'validation_failed' },
  ],
  'wallet.statement': [
    {
      input: ({ userId }) => ({ asset: 'EUR', user_id: userId }),
      expect: 'own',
      without: hersNotMine,
    },
    { input: () => ({ asset: 'EUR', account_id: '2' }), expect: 'validation_failed' },
    // A cursor of hers is a place in time, and shows one's own.
    { input: () => ({ asset: 'EUR', cursor: '1.1' }), expect: 'own' },
  ],
  'wallet.export': [
    {
      input: ({ userId }) => ({ asset: 'EUR', user_id: userId }),
      expect: 'own',
      without: hersNotMine,
    },
  ],
  'wallet.transfer': [
    {
      input: ({ userId }, { friendId }) => ({
        to_user_id: friendId,
        amount: '1',
        asset: 'EUR',
        from_user_id: userId,
      }),
      expect: 'validation_failed',
    },
    {
      input: ({ userId }, { friendId }) => ({
        to_user_id: friendId,
        amount: '1',
        asset: 'EUR',
        user_id: userId,
      }),
      expect: 'insufficient_funds',
    },
    {
      input: ({ userId }) => ({ to_user_id: userId, amount: '1', asset: 'EUR' }),
      expect: 'insufficient_funds',
      tellsApart: 'profiles are public: that somebody is there is no secret',
    },
  ],
  'funding.webhook': [
    {
      input: ({ userId }) => ({ provider: 'stripe', metadata: { user_id: userId } }),
      expect: 'not_found',
    },
  ],
  'payouts.request': [
    {
      input: ({ userId, iban }) => ({ user_id: userId, amount: '1', iban, name: 'Mallory' }),
      expect: 'insufficient_funds',
    },
    {
      input: ({ userId, iban }) => ({ from_user_id: userId, amount: '1', iban, name: 'Mallory' }),
      expect: 'validation_failed',
    },
  ],
  'payouts.list': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ payoutId }) => ({ cursor: payoutId }), expect: 'own' },
  ],
  'payouts.get': [
    { input: ({ payoutId }) => ({ payout_id: payoutId }), expect: 'not_found' },
    { input: ({ payoutId }) => ({ payout_id: upper(payoutId) }), expect: 'not_found' },
  ],
  'payouts.cancel': [
    { input: ({ payoutId }) => ({ payout_id: payoutId }), expect: 'not_found' },
    { input: ({ payoutId }) => ({ payout_id: upper(payoutId) }), expect: 'not_found' },
  ],
}
