import type { OutboundTrouble } from '../port.ts'

/** Why there was no answer, on its way to being a result. */
export class Trouble extends Error {
  override readonly name = 'Trouble'
  readonly reason: OutboundTrouble

  constructor(reason: OutboundTrouble, message: string) {
    super(message)
    this.reason = reason
  }
}
