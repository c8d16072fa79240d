import { chownSync, readFileSync, statSync } from 'node:fs'

/** Who PostgreSQL runs as. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Where a system has no `nobody`. */
const NOBODY: Account = { uid: 65_534, gid: 65_534 }

/**
 * The account for PostgreSQL, which refuses to run as root: the owner of the cluster, else of the
 * data folder, else `nobody`. Undefined when this process is not root and simply runs it itself.
 */
export function accountFor(dataDir: string, cluster: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const path of [cluster, dataDir]) {
    const owner = statSync(path, { throwIfNoEntry: false })
    if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  }
  return nobody()
}

function nobody(): Account {
  try {
    const line = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
    // Darwin writes -2 where the kernel says 4294967294.
    return line ? { uid: Number(line[1]) >>> 0, gid: Number(line[2]) >>> 0 } : NOBODY
  } catch {
    return NOBODY
  }
}

/** Gives what root has made in a folder of somebody else to that folder's owner. */
export function giveToOwner(dataDir: string, path: string): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(dataDir)
  if (uid !== 0) chownSync(path, uid, gid)
}
