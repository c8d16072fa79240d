import { connect, createServer, type Socket } from 'node:net'

/** A line to a server that a test can damage. */
export interface Proxy {
  readonly port: number
  /** From now on answers are swallowed; what is sent still arrives. */
  hush(): void
  /** Cuts every line to the client; the server notices a second later. New ones are whole. */
  cut(): void
  close(): Promise<void>
}

/** Listens on a free port of loopback and passes everything on to another. */
export async function startProxy(to: number): Promise<Proxy> {
  const pairs = new Set<{ client: Socket; server: Socket }>()
  const listener = createServer((client) => {
    const server = connect(to, '127.0.0.1')
    const pair = { client, server }
    pairs.add(pair)
    client.pipe(server, { end: false })
    server.pipe(client)
    for (const socket of [client, server]) socket.on('error', () => socket.destroy())
    server.on('close', () => {
      pairs.delete(pair)
      client.destroy()
    })
    client.on('close', () => setTimeout(() => server.destroy(), 1_000))
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    hush() {
      for (const { client, server } of pairs) server.unpipe(client).resume()
    },
    cut() {
      for (const { client } of pairs) client.destroy()
    },
    async close() {
      for (const { client, server } of pairs) {
        client.destroy()
        server.destroy()
      }
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
