import { PasswordCost } from '../../src/auth/sign-in/passwords.ts'
import { type Given, given } from '../../src/kernel/kernel.ts'

/**
 * Passwords hashed by Argon2id at a three-hundredth of what it costs: for all tests that are not
 * about passwords, which would be a third of the time of all. Pass `parts: []` for the real cost.
 */
export const CHEAP_PASSWORDS: readonly Given[] = [
  given(PasswordCost, {
    memoryKiB: 64,
    passes: 1,
    unmatched:
      '$argon2id$v=19$m=64,t=1,p=1$IbspUb2Y7Gyc1OMRUu1wDIp803L/Z0+TSRh9kBMNOHI$' +
      'WuPfRZNAkQgtacUwZj+Q7mAN7dHKCKCmylEwnJJtEVc',
  }),
]
