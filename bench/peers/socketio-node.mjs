// Socket.IO on Node.
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { options, wire } from './socketio.mjs'

const http = createServer()
wire(new Server(http, options))
http.listen(Number(process.env.PORT), '127.0.0.1', 4096)
