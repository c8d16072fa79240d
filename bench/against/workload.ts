/** What a turn is told. */
export interface TurnOptions {
  readonly peer: string
  /** The checkout whose modules are measured. */
  readonly folder: string
  readonly seconds: number
  /** An empty database of its own, as the owner. */
  readonly databaseUrl: string
  /** An empty folder of its own. */
  readonly dataDir: string
}

/** Something that is done for a while. @returns how many units were done */
export interface Workload {
  readonly name: string
  readonly work: (seconds: number) => Promise<number>
}

const WARM_UP_SECONDS = 0.7

/** Warms a workload up, measures it and prints a line as the load generator does. */
export async function measure(options: TurnOptions, { name, work }: Workload): Promise<void> {
  await work(WARM_UP_SECONDS)
  const before = process.cpuUsage()
  const startMs = performance.now()
  const done = await work(options.seconds)
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(before)
  const cpuSeconds = (user + system) / 1e6
  const figures = {
    rate: done / seconds,
    rate_per_cpu: done / cpuSeconds,
    server_cpu: cpuSeconds / seconds,
  }
  const { peer } = options
  console.log(JSON.stringify({ peer, scenario: name, ...figures, failures: 0, failure: '' }))
}

/** Lets so many clients repeat `work`. @returns how often they did it */
export async function repeat(
  clients: number,
  seconds: number,
  work: () => Promise<unknown>,
): Promise<number> {
  const endMs = performance.now() + seconds * 1000
  let done = 0
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < endMs) {
        await work()
        done++
      }
    }),
  )
  return done
}
