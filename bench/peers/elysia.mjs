// The same as bun-json.mjs in Elysia's own `.ws`, which parses the frames itself.
import { Elysia } from 'elysia'
import { message, partnerOf, post, typing } from './events.mjs'
import { verify } from './token.mjs'

const users = new Map()

const app = new Elysia({ websocket: { perMessageDeflate: false, backpressureLimit: 16 << 20 } })
  .derive(({ query }) => ({ claims: verify(query.token ?? '') }))
  .ws('/ws', {
    beforeHandle({ claims, set }) {
      if (claims) return
      set.status = 401
      return ''
    },
    open({ data: { claims }, raw }) {
      users.set(claims.sub, raw)
      raw.subscribe(`user:${claims.sub}`)
      raw.send(JSON.stringify({ type: 'connected', payload: { user_id: claims.sub } }))
    },
    close({ data: { claims }, raw }) {
      if (users.get(claims.sub) === raw) users.delete(claims.sub)
    },
    message({ data: { claims }, raw }, { type, id, payload }) {
      switch (type) {
        case 'bench.post': {
          const channel = `bench:${payload.channel_name}`
          app.server.publish(channel, JSON.stringify(post(channel, payload.data)))
          break
        }
        case 'message':
          users.get(payload.recipient_id)?.send(JSON.stringify(message(claims.sub, payload)))
          break
        case 'typing_indicator': {
          const partner = users.get(partnerOf(payload.conversation_id, claims.sub))
          partner?.send(JSON.stringify(typing(claims.sub, payload)))
          break
        }
        case 'subscribe':
          raw.subscribe(payload.channel)
      }
      if (id) raw.send(JSON.stringify({ type: 'ack', id, payload: {} }))
    },
  })
  .listen({ hostname: '127.0.0.1', port: Number(process.env.PORT) })
