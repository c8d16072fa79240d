import { createHash } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { randomToken } from '../../../base/ids.ts'
import { type Delivery, PayoutConflict, type PayoutDriver } from '../port.ts'
import { renderOrder, takesPayment } from './renderOrder.ts'

/**
 * Orders as files of a folder, `<message id>.xml`, from which a banking client sends them. A file
 * appears whole or not at all, is on the disk before it is reported, and is never overwritten.
 *
 * @param folder made when it is not there, readable by this account alone
 */
export function fileDriver(folder: string): PayoutDriver {
  const pathOf = (messageId: string) => join(folder, nameOf(messageId))

  const find = async (messageId: string): Promise<Delivery | undefined> => {
    try {
      const content = await readFile(pathOf(messageId))
      return { name: nameOf(messageId), sha256: hashOf(content) }
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    }
  }

  return {
    takes: takesPayment,
    render: renderOrder,
    find,
    async submit(messageId, content) {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const path = pathOf(messageId)
      // Hidden, and another one for each writer, so that two instances do not meet in it.
      const draft = join(folder, `.${messageId}.${randomToken(9)}.draft`)
      try {
        await writeDurably(draft, content)
        // Unlike a renaming, a link never replaces what is there.
        await link(draft, path)
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
      } finally {
        await rm(draft, { force: true })
      }
      await syncFolder(path)
      const there = await find(messageId)
      if (there?.sha256.equals(hashOf(content)) === true) return there
      throw new PayoutConflict(`${nameOf(messageId)} holds another order`)
    },
  }
}

/** Ids are ours and checked; this is the last line against one that leaves the folder. */
function nameOf(messageId: string): string {
  if (!/^[A-Za-z0-9-]{1,32}$/.test(messageId)) throw new RangeError('not an id of an order')
  return `${messageId}.xml`
}

const hashOf = (content: Uint8Array) => createHash('sha256').update(content).digest()
const codeOf = (error: unknown) => (error as { code?: unknown }).code

async function writeDurably(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
