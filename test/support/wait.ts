/** Waiting for things to come true, and what it needs. */

/**
 * Waits until `test` holds; returns how long that took, in milliseconds.
 * @throws Error that names what has not happened in time
 */
export async function until(
  test: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 10_000,
): Promise<number> {
  const startMs = performance.now()
  for (;;) {
    if (await test()) return performance.now() - startMs
    if (performance.now() - startMs > timeoutMs) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`)
    }
    await Bun.sleep(5)
  }
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** A port of loopback that is free now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}
