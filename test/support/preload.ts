/** Runs around the whole test run: the PostgreSQL that all files share is stopped at its end. */
import { afterAll } from 'bun:test'
import { stopTestCluster } from './database.ts'

afterAll(stopTestCluster)
