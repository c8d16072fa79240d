import { Cron } from 'croner'

/** The times of a cron pattern, all in UTC. Pure: never starts a timer. */
export interface Times {
  /** The latest time of the pattern that is not after `nowMs`; undefined when there was none. */
  latest(nowMs: number): number | undefined
  /** The first time of the pattern after `nowMs`; undefined when there will be none. */
  next(nowMs: number): number | undefined
}

/**
 * Reads a pattern of five or six fields (croner's dialect of crontab(5)).
 * @throws RangeError or TypeError for what is no pattern
 */
export function timesOf(pattern: string): Times {
  const cron = new Cron(pattern, { timezone: 'UTC' })
  return {
    // croner looks before the time it is given, and has whole seconds.
    latest: (nowMs) => cron.previousRuns(1, new Date(Math.floor(nowMs) + 1))[0]?.getTime(),
    next: (nowMs) => cron.nextRun(new Date(nowMs))?.getTime(),
  }
}
