import { Redis } from 'ioredis'
import type { Logger } from '../../src/observe/log.ts'
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
  let subscribed = false
  const ready = () => subscribed && sender.status === 'ready' && receiver.status === 'ready'
  const complain = (error: Error) => {
    if (wasReady) log.warn('redis is away', { error: error.message })
    wasReady = false
  }
  sender.on('error', complain)
  receiver.on('error', complain)

  return {
    kind: 'redis',
    async start(onMessage, onGap) {
      // Both lines: what others said may have been lost, or what was said to them.
      const back = () => {
        if (!ready()) return
        wasReady = true
        onGap()
      }
      receiver.on('message', (_topic, message) => onMessage(message))
      receiver.on('close', () => (subscribed = false))
      receiver.on('ready', () => {
        void receiver.subscribe(TOPIC).then(() => {
          subscribed = true
          back()
        }, complain)
      })
      sender.on('ready', back)
      // A Redis that is not there yet is reconnected to in the background.
      await Promise.allSettled([sender.connect(), receiver.connect()])
    },
    publish(message) {
      if (sender.status !== 'ready') return
      sender.publish(TOPIC, message).catch(complain)
    },
    ready,
    async close() {
      sender.disconnect()
      receiver.disconnect()
      await Promise.resolve()
    },
  }
}
