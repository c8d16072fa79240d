// Bun's sockets with JSON and nothing else: the base of the ratios.
import { message, partnerOf, post, typing } from './events.mjs'
import { tokenOf, verify } from './token.mjs'

const users = new Map()

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.env.PORT),
  fetch(request, server) {
    const claims = verify(tokenOf(request.url))
    if (!claims) return new Response(null, { status: 401 })
    if (server.upgrade(request, { data: claims })) return
    return new Response(null, { status: 400 })
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: 16 << 20,
    open(socket) {
      const user = socket.data.sub
      users.set(user, socket)
      socket.subscribe(`user:${user}`)
      socket.send(JSON.stringify({ type: 'connected', payload: { user_id: user } }))
    },
    close(socket) {
      if (users.get(socket.data.sub) === socket) users.delete(socket.data.sub)
    },
    message(socket, text) {
      const { type, id, payload } = JSON.parse(text)
      const user = socket.data.sub
      switch (type) {
        case 'bench.post': {
          const channel = `bench:${payload.channel_name}`
          server.publish(channel, JSON.stringify(post(channel, payload.data)))
          break
        }
        case 'message':
          users.get(payload.recipient_id)?.send(JSON.stringify(message(user, payload)))
          break
        case 'typing_indicator': {
          const partner = users.get(partnerOf(payload.conversation_id, user))
          partner?.send(JSON.stringify(typing(user, payload)))
          break
        }
        case 'subscribe':
          socket.subscribe(payload.channel)
      }
      if (id) socket.send(JSON.stringify({ type: 'ack', id, payload: {} }))
    },
  },
})
