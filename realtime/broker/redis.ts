import { Redis } from 'ioredis'
import type { Logger } from '../../src/kernel/log.ts'
import type { Broker } from './broker.ts'

const TOPIC = 'rialto:bus'
const RECONNECT_MS_MAX = 1_000

/**
 * Redis publish/subscribe. Nothing is stored there: losing Redis loses speed and ephemeral
 * events, never a durable one, because the hub fills gaps from Postgres.
 */
export function createRedisBroker(url: string, log: Logger): Broker {
  const options = {
    lazyConnect: true,
    // Waiting messages would arrive late and in a burst; the streams catch up by themselves.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 2_000,
    retryStrategy: (times: number) => Math.min(50 * 2 ** times, RECONNECT_MS_MAX),
  }
  const sender = new Redis(url, options)
  const receiver = new Redis(url, { ...options, enableOfflineQueue: true })
  let wasReady = false
  const complain = (error: Error) => {
    if (wasReady) log.warn('redis is away', { error: error.message })
    wasReady = false
  }
  sender.on('error', complain)
  receiver.on('error', complain)

  return {
    kind: 'redis',
    async start(onMessage, onGap) {
      receiver.on('message', (_topic, message) => onMessage(message))
      receiver.on('ready', () => {
        wasReady = true
        void receiver.subscribe(TOPIC).then(onGap, complain)
      })
      // A Redis that is not there yet is reconnected to in the background.
      await Promise.allSettled([sender.connect(), receiver.connect()])
    },
    publish(message) {
      if (sender.status !== 'ready') return
      sender.publish(TOPIC, message).catch(complain)
    },
    ready: () => sender.status === 'ready' && receiver.status === 'ready',
    async close() {
      sender.disconnect()
      receiver.disconnect()
      await Promise.resolve()
    },
  }
}
