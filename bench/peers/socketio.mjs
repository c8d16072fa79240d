// The Socket.IO peer's handlers, for Node and for Bun. Its envelope is three bytes shorter than
// the native one, hence the `.io` in the names of the events.
import { message, partnerOf, post, typing } from './events.mjs'
import { verify } from './token.mjs'

export const options = {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: 25_000,
  pingTimeout: 60_000,
}

/** Wires the bench's frames to a Socket.IO server. */
export function wire(io) {
  const emit = (target, { type, ...event }) => io.to(target).emit(`${type}.io`, event)
  io.use((socket, next) => {
    const claims = verify(socket.handshake.auth.token ?? '')
    if (!claims) return next(new Error('unauthenticated'))
    socket.data.user = claims.sub
    next()
  })
  io.on('connection', (socket) => {
    const { user } = socket.data
    socket.join(`user:${user}`)
    socket.on('subscribe', ({ channel }, acknowledge) => {
      socket.join(channel)
      acknowledge()
    })
    socket.on('bench.post', ({ channel_name, data }, acknowledge) => {
      const channel = `bench:${channel_name}`
      emit(channel, post(channel, data))
      acknowledge()
    })
    socket.on('message', (payload, acknowledge) => {
      emit(`user:${payload.recipient_id}`, message(user, payload))
      acknowledge()
    })
    socket.on('typing_indicator', (payload) => {
      const partner = partnerOf(payload.conversation_id, user)
      emit(`user:${partner}`, typing(user, payload))
    })
  })
}
