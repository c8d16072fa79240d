import { existsSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Imports an export from a checkout. Files move between commits: the first path that exists and
 * has the name is taken, so that a path is added here where something moves, and none is removed
 * before every parent that is still measured has moved it.
 * @throws Error where no path has it
 */
export async function take<Value>(
  folder: string,
  name: string,
  ...paths: readonly string[]
): Promise<Value> {
  for (const path of paths) {
    if (!existsSync(join(folder, path))) continue
    const module = (await import(join(folder, path))) as Readonly<Record<string, unknown>>
    if (name in module) return module[name] as Value
  }
  throw new Error(`${folder} has no ${name} in ${paths.join(' or ')}`)
}
