// Socket.IO on Bun, by its own engine.
import { Server as Engine } from '@socket.io/bun-engine'
import { Server } from 'socket.io'
import { options, wire } from './socketio.mjs'

const { pingInterval, pingTimeout } = options
const io = new Server()
const engine = new Engine({ path: '/socket.io/', pingInterval, pingTimeout })
io.bind(engine)
wire(io)

Bun.serve({
  ...engine.handler(),
  hostname: '127.0.0.1',
  port: Number(process.env.PORT),
  idleTimeout: 60,
})
