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
 * A cluster can only be made by an account with a name (`hasName`), which a container's user may
 * lack.
 */
export function accountFor(
  dataDir: string,
  cluster: string,
  hasName: (uid: number) => boolean,
): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const existing = statSync(cluster, { throwIfNoEntry: false })
  if (existing && existing.uid !== 0) return { uid: existing.uid, gid: existing.gid }
  const { uid, gid } = statSync(dataDir)
  return uid !== 0 && hasName(uid) ? { uid, gid } : nobody()
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
