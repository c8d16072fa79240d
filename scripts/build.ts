/**
 * Builds the server: `dist/main.js` with its source map, and the migrations beside it. Packages
 * stay in `node_modules`; run it by `bun --no-env-file dist/main.js`.
 */

import { cpSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const project = dirname(import.meta.dir)

/** Builds into `outdir`, which is emptied. @throws AggregateError with what does not compile */
export async function build(outdir = join(project, 'dist')): Promise<void> {
  rmSync(outdir, { recursive: true, force: true })
  await Bun.build({
    entrypoints: [join(project, 'src/main.ts')],
    outdir,
    target: 'bun',
    packages: 'external',
    sourcemap: 'linked',
  })
  cpSync(join(project, 'db/migrations'), join(outdir, 'migrations'), { recursive: true })
}

if (import.meta.main) {
  await build()
  console.log('dist/main.js')
}
