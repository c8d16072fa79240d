import { parseArgs } from 'node:util'
import { type Checkout, isCheckout, readCheckouts } from './checkout.ts'
import { PEERS } from './peers.ts'
import { SCENARIOS, type ScenarioName } from './scenarios.ts'

/** What a run of the bench does. */
export interface Options {
  /** How often each peer has its turn. */
  readonly rounds: number
  /** Measured seconds of each run, after its warm-up. */
  readonly seconds: number
  readonly peers: readonly string[]
  /** Those of the peers that are other checkouts. */
  readonly checkouts: readonly Checkout[]
  readonly scenarios: readonly ScenarioName[]
  /** Seconds that a turn waits for the machine to fall quiet. */
  readonly quietSeconds: number
  /** One short round of our server and the base; leaves RESULTS.md as it is. */
  readonly quick: boolean
}

const HELP = `bun run bench [--rounds 3] [--secs 3] [--peers a,b] [--scenarios a,b] [--wait 8]
                 [--quick]
  peers:     ${PEERS.map(({ name }) => name).join(', ')},
             or ours@FOLDER: the server of another checkout; ours@FOLDER#2 for a second time
  scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')};
             or a group: storm, fan, stored, dm, typing, recovery, http, start`

/**
 * Reads the command line.
 * @throws Error with what is wrong and the usage
 */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      secs: { type: 'string' },
      peers: { type: 'string' },
      scenarios: { type: 'string' },
      wait: { type: 'string', default: '8' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(HELP)
    process.exit(0)
  }
  const names = PEERS.map(({ name }) => name)
  const quickPeers = ['ours', 'bun-json', 'bare-http']
  const checkouts = readCheckouts((values.peers ?? '').split(',').filter(isCheckout))
  return {
    rounds: positive('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    seconds: positive('secs', values.secs ?? (values.quick ? '1' : '3')),
    peers: chosenPeers(values.peers, values.quick ? quickPeers : names, checkouts),
    checkouts,
    scenarios: chosen(
      'scenarios',
      values.scenarios,
      SCENARIOS.map(({ name }) => name),
      (wanted) =>
        SCENARIOS.filter(({ name, group }) => name === wanted || group === wanted).map(
          ({ name }) => name,
        ),
    ),
    quietSeconds: positive('wait', values.wait),
    quick: values.quick,
  }
}

function chosenPeers(
  text: string | undefined,
  all: readonly string[],
  checkouts: readonly Checkout[],
): readonly string[] {
  const names = PEERS.map(({ name }) => name)
  const chosenNames = chosen('peers', text, all, (wanted) =>
    isCheckout(wanted)
      ? checkouts.filter(({ word }) => word === wanted).map(({ name }) => name)
      : names.filter((name) => name === wanted),
  )
  if (checkouts.length > 0 && !chosenNames.includes('ours')) {
    throw new Error(`--peers: other checkouts are compared with ours: name it as well\n${HELP}`)
  }
  return chosenNames
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not ${text}\n${HELP}`)
  return value
}

/** The chosen names in the order of `all`, groups spelled out. */
function chosen<Name extends string>(
  option: string,
  text: string | undefined,
  all: readonly Name[],
  expand: (wanted: string) => readonly Name[],
): readonly Name[] {
  if (text === undefined) return all
  const wanted = new Set<Name>()
  for (const word of text.split(',')) {
    const found = expand(word)
    if (found.length === 0) throw new Error(`--${option}: there is no ${word}\n${HELP}`)
    for (const name of found) wanted.add(name)
  }
  return [...wanted]
}
