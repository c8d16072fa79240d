/**
 * Payouts: one port, one implementation. `pain001` writes orders for a bank in the format of ISO
 * 20022, one file each, into a folder from which the operator's banking client (EBICS, SFTP) sends
 * them. May import the kernel and configuration.
 */

import { join } from 'node:path'
import type { Config } from '../../config.ts'
import { fileDriver } from './pain001/fileDriver.ts'
import type { PayoutDebtor, PayoutDriver } from './port.ts'

/** Whose account a developer pays from; production refuses to start with it (`config/rules.ts`). */
const DEVELOPMENT: PayoutDebtor = { name: 'Rialto (development)', iban: 'DE75512108001245126199' }

/** The driver that the configuration chooses, and the account that it pays from. */
export function openPayouts(config: Config): { driver: PayoutDriver; debtor: PayoutDebtor } {
  return {
    driver: fileDriver(join(config.dataDir, 'payouts')),
    debtor: config.payouts ?? DEVELOPMENT,
  }
}
