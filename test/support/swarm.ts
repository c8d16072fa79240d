import { join } from 'node:path'
import type { FileSink } from 'bun'

/** What a swarm has seen. */
export interface SwarmReport {
  readonly open: number
  /** The lowest and the highest offset that any client has reached. */
  readonly lowest: number
  readonly highest: number
  readonly received: number
  readonly recovered: number
  readonly refused: number
  /** Events that were not the next one. */
  readonly faults: readonly string[]
}

/** Many clients in a process of their own, perhaps behind a line of their own. */
export class Swarm {
  private readonly child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  private readonly lines: AsyncIterator<string>

  /** @param within a command to run the process under, such as `ip netns exec <name>` */
  constructor(within: readonly string[] = []) {
    const script = join(import.meta.dir, 'swarm-process.ts')
    this.child = Bun.spawn([...within, process.execPath, '--no-env-file', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.lines = linesOf(this.child.stdout)
  }

  private async tell<T>(command: string, given: object = {}): Promise<T> {
    const sink: FileSink = this.child.stdin
    void sink.write(`${JSON.stringify({ command, given })}\n`)
    await sink.flush()
    const { value, done } = await this.lines.next()
    if (done === true) throw new Error('the swarm has ended')
    return JSON.parse(value) as T
  }

  /** Connects clients and subscribes each to a channel. */
  open(url: string, tokens: readonly string[], channel: string): Promise<{ failures: number }> {
    return this.tell('open', { url, tokens, channel })
  }

  /** Cuts every line at the same moment. */
  drop(): Promise<object> {
    return this.tell('drop')
  }

  /** Brings all of them back, each from where it stood. */
  back(): Promise<{ failures: number; ms: number }> {
    return this.tell('back')
  }

  report(): Promise<SwarmReport> {
    return this.tell('report')
  }

  async end(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.child.exited
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
