// Bun's sockets without JSON: the upper bound. Commands are those of gen/src/dialects/raw.rs.
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
      users.set(socket.data.sub, socket)
      socket.send('C')
    },
    close(socket) {
      if (users.get(socket.data.sub) === socket) users.delete(socket.data.sub)
    },
    message(socket, text) {
      const end = text.indexOf(' ', 2)
      const target = end < 0 ? text.slice(2) : text.slice(2, end)
      switch (text[0]) {
        case 'p':
          server.publish(target, text.slice(end + 1))
          break
        case 'd': {
          const idEnd = text.indexOf(' ', end + 1)
          users.get(target)?.send(text.slice(idEnd + 1))
          socket.send(`a ${text.slice(end + 1, idEnd)}`)
          break
        }
        case 't':
          users.get(target)?.send(text.slice(end + 1))
          break
        case 'j':
          socket.subscribe(target)
          socket.send('J')
      }
    },
  },
})
