/**
 * Runs around a process of tests, or around each file where they run side by side: the PostgreSQL
 * that it has started is stopped at its end. The one of the whole run is the launcher's.
 */
import { afterAll } from 'bun:test'
import { stopTestCluster } from './database.ts'

afterAll(stopTestCluster)
