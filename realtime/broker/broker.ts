/** Carries messages between the instances of one product. Loses some when its system is away. */
export interface Broker {
  readonly kind: 'memory' | 'postgres' | 'redis'
  /**
   * Begins to listen. `onMessage` gets every message of other instances (and may get one's own);
   * `onGap` is called after an outage, when messages may have been lost.
   */
  start(onMessage: (message: string) => void, onGap: () => void): Promise<void>
  /** Sends to all instances, in order. Never throws: what cannot be sent is lost. */
  publish(message: string): void
  /** Whether messages are getting through. */
  ready(): boolean
  close(): Promise<void>
}
