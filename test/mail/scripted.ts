import { createServer, type Socket } from 'node:net'

/** Answers to the commands of one client, in the way that a test wants. */
export interface Script {
  /** First line; nothing is said when absent. */
  readonly greeting?: string
  /** The answer to a command (in upper case, first word); null says nothing. */
  readonly answer?: (command: string, line: string, socket: Socket) => string | null
}

/** A mail server that follows a script; for what a proper one does not do. */
export interface ScriptedServer {
  readonly port: number
  /** Every line of every client. */
  readonly lines: readonly string[]
  /** Connections that are open now. */
  readonly open: () => number
  close(): Promise<void>
}

/** Starts one on loopback. */
export async function scriptedServer(script: Script): Promise<ScriptedServer> {
  const lines: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    if (script.greeting !== undefined) socket.write(`${script.greeting}\r\n`)
    let rest = ''
    let inData = false
    socket.on('data', (chunk) => {
      const parts = (rest + chunk.toString('utf8')).split('\r\n')
      rest = parts.pop() as string
      for (const line of parts) {
        lines.push(line)
        if (inData && line !== '.') continue
        const command = inData ? 'END' : (line.split(' ')[0] as string).toUpperCase()
        inData = false
        const answer = script.answer?.(command, line, socket) ?? null
        if (command === 'DATA' && answer?.startsWith('354')) inData = true
        if (answer !== null) socket.write(`${answer}\r\n`)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    lines,
    open: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A server's usual answers, to be varied. */
export function usual(command: string): string | null {
  switch (command) {
    case 'EHLO':
      return '250 scripted.test'
    case 'DATA':
      return '354 go on'
    case 'STARTTLS':
      return '502 not here'
    case 'QUIT':
      return '221 bye'
    default:
      return '250 ok'
  }
}
