/**
 * Where log lines go: standard output or a file, written in batches off the main thread. A sink
 * never throws and never blocks; what cannot be written waits up to a limit and is then dropped
 * and counted.
 */

import { closeSync, fstatSync, openSync, statSync, write, writeSync } from 'node:fs'
import type { Clock, Timer } from '../base/clock.ts'

/** How long a line may wait for others. */
const BATCH_MS = 100
/** Above this many characters a batch does not wait. */
const BATCH_LENGTH = 65_536
/** What may wait for a disk or pipe that takes nothing; then lines are dropped. */
const WAITING_LENGTH_MAX = 8 * 1_024 * 1_024
/** How long the end of the process may be held up by a reader that does not read. */
const EXIT_PATIENCE_MS = 500

/** Takes lines, each ending in a line break. */
export interface Sink {
  write(line: string): void
  /** Starts writing what waits, without waiting for more. */
  hurry(): void
  /** Resolves when everything has been tried once. */
  flush(): Promise<void>
  /** Writes what waits before returning; for the end of the process. */
  flushSync(): void
}

/** How a sink speaks about itself. */
export interface SinkReport {
  /** Writing has begun to fail, with the system's code. */
  failed(code: string): void
  /** Writing works again; so many lines are lost. */
  recovered(dropped: number): void
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN'

/** Keeps a file open for appending, following it when it is moved away or removed. */
class AppendedFile {
  readonly #path: string
  #fd: number | undefined
  #inode = 0

  constructor(path: string) {
    this.#path = path
  }

  /** The descriptor to write to; throws when the file cannot be opened. */
  open(): number {
    if (this.#fd !== undefined) {
      // After a rotation the path is another file, or none.
      if (statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) return this.#fd
      closeSync(this.#fd)
      this.#fd = undefined
    }
    this.#fd = openSync(this.#path, 'a', 0o640)
    this.#inode = fstatSync(this.#fd).ino
    return this.#fd
  }
}

/** A sink on standard output (`path` undefined) or on a file that is appended to. */
export class BatchingSink implements Sink {
  readonly #clock: Clock
  readonly #report: SinkReport
  readonly #file: AppendedFile | undefined
  #waiting = ''
  /** Taken from `#waiting`, not yet written to the end. */
  #batch: Buffer | undefined
  #writing = false
  #timer: Timer | undefined
  #dropped = 0
  #failing = false
  #flushers: (() => void)[] = []

  constructor(clock: Clock, report: SinkReport, path?: string) {
    this.#clock = clock
    this.#report = report
    this.#file = path === undefined ? undefined : new AppendedFile(path)
    endOfProcess.add(this)
  }

  write(line: string): void {
    if (this.#waiting.length + line.length > WAITING_LENGTH_MAX) {
      this.#dropped++
      return
    }
    this.#waiting += line
    if (this.#waiting.length >= BATCH_LENGTH && !this.#failing) this.hurry()
    else this.#timer ??= this.#clock.setTimeout(() => this.hurry(), BATCH_MS)
  }

  hurry(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (!this.#writing) this.#writeBatch()
  }

  flush(): Promise<void> {
    if (!this.#writing && !this.#batch && this.#waiting === '') return Promise.resolve()
    return new Promise((resolve) => {
      this.#flushers.push(resolve)
      this.hurry()
    })
  }

  #nextBatch(): Buffer | undefined {
    if (!this.#batch && this.#waiting !== '') {
      this.#batch = Buffer.from(this.#waiting)
      this.#waiting = ''
    }
    return this.#batch
  }

  #writeBatch(): void {
    const batch = this.#nextBatch()
    if (!batch) {
      this.#settle()
      return
    }
    let fd: number
    try {
      fd = this.#file?.open() ?? 1
    } catch (error) {
      this.#fail(codeOf(error))
      return
    }
    this.#writing = true
    write(fd, batch, 0, batch.length, null, (error, written) => {
      this.#writing = false
      // `flushSync` may have gone on in the meantime.
      const current = this.#batch === batch
      if (error && current) {
        this.#fail(codeOf(error))
        return
      }
      if (current) this.#wrote(written)
      this.#writeBatch()
    })
  }

  #wrote(bytes: number): void {
    this.#batch = bytes < this.#batch!.length ? this.#batch!.subarray(bytes) : undefined
    if (!this.#failing) return
    this.#failing = false
    const dropped = this.#dropped
    this.#dropped = 0
    this.#report.recovered(dropped)
  }

  /** Keeps what could not be written and tries again with the next batch. */
  #fail(code: string): void {
    // A full pipe is no failure: its reader is slow.
    if (code !== 'EAGAIN' && !this.#failing) {
      this.#failing = true
      this.#report.failed(code)
    }
    this.#timer ??= this.#clock.setTimeout(() => this.hurry(), BATCH_MS)
    this.#settle()
  }

  #settle(): void {
    for (const resolve of this.#flushers.splice(0)) resolve()
  }

  flushSync(): void {
    // A write that is under way on another thread normally ends within this time; it cannot be
    // awaited here, and repeating it would write its lines twice.
    if (this.#writing) {
      Bun.sleepSync(10)
      this.#batch = undefined
    }
    const deadline = this.#clock.monotonicMs() + EXIT_PATIENCE_MS
    for (let batch = this.#nextBatch(); batch; batch = this.#nextBatch()) {
      try {
        const written = writeSync(this.#file?.open() ?? 1, batch)
        this.#batch = written < batch.length ? batch.subarray(written) : undefined
      } catch (error) {
        if (codeOf(error) !== 'EAGAIN' || this.#clock.monotonicMs() > deadline) return
        Bun.sleepSync(5)
      }
    }
  }
}

const endOfProcess = new Set<BatchingSink>()
process.on('exit', () => {
  for (const sink of endOfProcess) sink.flushSync()
})
