import { connect } from 'node:net'
import type { Subprocess } from 'bun'

/** A server of the bench while it runs. */
export interface Running {
  readonly pid: number
  stop(): Promise<void>
}

const READY_MS = 60_000
const STOP_MS = 10_000

/**
 * Starts a server and waits until it serves.
 * @param ready asks once whether it serves
 * @throws Error with the end of its output when it ends or does not serve within a minute
 */
export async function launch(options: {
  command: readonly string[]
  cwd: string
  env: Readonly<Record<string, string>>
  log: string
  ready: () => Promise<boolean>
}): Promise<Running> {
  const { command, cwd, env, log, ready } = options
  const output = Bun.file(log)
  const child = track(Bun.spawn([...command], { cwd, env, stdout: output, stderr: output }))
  const until = performance.now() + READY_MS
  while (!(await ready())) {
    if (child.exitCode === null && performance.now() < until) {
      await Bun.sleep(5)
      continue
    }
    const end = child.exitCode === null ? 'does not serve' : `ended with ${child.exitCode}`
    await stop(child)
    throw new Error(`${command.join(' ')} ${end}:\n${(await output.text()).slice(-2000)}`)
  }
  return { pid: child.pid, stop: () => stop(child) }
}

const children = new Set<Subprocess>()
let interrupted = false

/** Remembers a child until it ends, so that an interrupted run leaves nothing behind. */
export function track<Child extends Subprocess>(child: Child): Child {
  children.add(child)
  void child.exited.then(() => children.delete(child))
  if (interrupted) child.kill('SIGTERM')
  return child
}

/** On SIGINT or SIGTERM ends the children: what waits for them fails, and cleans up. */
export function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      interrupted = true
      for (const child of children) child.kill('SIGTERM')
    })
  }
}

/** @throws Error after SIGINT or SIGTERM */
export function failIfInterrupted(): void {
  if (interrupted) throw new Error('interrupted')
}

/** Ends a child that we started: politely, then by force. */
async function stop(child: Subprocess): Promise<void> {
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await child.exited
  clearTimeout(force)
}

/** Whether somebody accepts connections on the port. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => socket.destroy())
    socket.once('connect', () => socket.end())
  })
}

/** Whether GET `/health` answers 200. */
export async function healthy(port: number): Promise<boolean> {
  try {
    const { ok } = await fetch(`http://127.0.0.1:${port}/health`)
    return ok
  } catch {
    return false
  }
}
