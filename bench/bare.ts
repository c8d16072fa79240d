import { freePort, pinned } from './machine.ts'
import { type Peer, PEERS } from './peers.ts'
import { healthy, launch } from './process.ts'
import { environment, OUR_PATHS, type Setting } from './turn.ts'

/**
 * What the bare routes must do to be comparable: answer a body as long as ours, and run the query
 * of our `auth/me`. Asks our server for the body, which also proves that it serves the users.
 */
export async function readBareWork(
  token: string,
  setting: Setting,
): Promise<Readonly<Record<string, string>>> {
  const ours = PEERS.find(({ name }) => name === 'ours') as Peer
  const port = await freePort()
  const server = await launch({
    command: pinned(ours.command),
    cwd: setting.folder,
    env: environment(port, setting),
    log: `${setting.folder}/ours.log`,
    ready: () => healthy(port),
  })
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${OUR_PATHS.plain}`, {
      headers: { authorization: `Bearer ${token}` },
    })
    const body = await answer.text()
    if (!answer.ok) throw new Error(`GET ${OUR_PATHS.plain} answers ${answer.status}: ${body}`)
    return { BODY: body, QUERY: ACCOUNT_QUERY }
  } finally {
    await server.stop()
  }
}

/** The query of `auth/me` (src/auth/accounts/users.ts), with the user's id as its parameter. */
const ACCOUNT_QUERY = `
  select id, email, username, name, avatar, roles, actor_type, locale, time_zone,
    wallet_address, wallet_verified_at, created_at
  from users where id = $1 and closed_at is null`
