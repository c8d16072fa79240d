import type { Caller } from '../kernel/access.ts'
import type { Outcome } from '../kernel/call.ts'
import { type Operation, type RawBody, type Route, stepsUp } from '../kernel/operation.ts'
import { admit } from './admission.ts'
import { answerEmpty, answerFailure, answerJson, answerMedia } from './answer.ts'
import { hasBody, readBody, readRawBody } from './body.ts'
import { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import { parameterReader } from './query.ts'

/** Values of a path's parameters, by position; a path without any has none. */
type PathParameters = Readonly<Record<string, string>> | undefined

/** Answers a request. */
export type Endpoint = (
  request: Request,
  parameters: PathParameters,
) => Response | Promise<Response>

/** Where every operation is mounted; the first prefix is the canonical one. */
export const PREFIXES = ['/api/v1', '/api'] as const

const REPLAYED = { 'idempotent-replayed': 'true' }

/** Names of a path's parameters with their positions: `/users/:id` → `[['p1', 'id']]`. */
export function pathParameters(path: string): [position: string, name: string][] {
  return path
    .split('/')
    .slice(1)
    .flatMap((part, i) =>
      part.startsWith(':') ? [[`p${i}`, part.slice(1)] as [string, string]] : [],
    )
}

/**
 * A path with its parameters named by position. The router allows one name only at each place of
 * its tree, and `/rooms/:id` stands beside `/rooms/:room_id/messages`.
 */
export function positional(path: string): string {
  return path
    .split('/')
    .map((part, i) => (part.startsWith(':') ? `:p${i - 1}` : part))
    .join('/')
}

/** The endpoint of one route of an operation; the same at every prefix. */
export function operationEndpoint(edge: Edge, operation: Operation, route: Route): Endpoint {
  const log = edge.accessLog(route.method, PREFIXES[0] + route.path)
  const names = pathParameters(route.path)
  const { read, readQuery } = parameterReader(operation.input)
  const takesQuery = route.method === 'GET' || route.method === 'DELETE'
  const takesBody = route.method !== 'GET'
  const open = operation.access.kind === 'anyone'
  const admission = { open, guessable: open && operation.limit === 'identity' }
  const takesStepUp = stepsUp(operation)
  const { executor } = edge
  const { media, raw } = operation

  const failed = (call: RestCall, error: unknown) => answerFailure(edge, call, log, error)

  const answered = (call: RestCall, { output, replayed }: Outcome, input: unknown): Response => {
    try {
      const extras = replayed === true ? REPLAYED : undefined
      if (operation.status === 204) return answerEmpty(edge, call, log, 204, extras)
      if (media !== undefined) {
        const { body, headers } = media.render(output, input)
        const all = { ...extras, ...headers, 'content-type': media.type }
        return answerMedia(edge, call, log, operation.status, body, all)
      }
      return answerJson(edge, call, log, operation.status, output, extras)
    } catch (error) {
      return failed(call, error)
    }
  }

  const execute = (
    call: RestCall,
    actor: Caller | null,
    input: Record<string, unknown>,
    parameters: PathParameters,
  ): Response | Promise<Response> => {
    if (takesQuery) readQuery(input, call.request.url)
    // Last, so that neither body nor query may say otherwise.
    for (const [position, name] of names) input[name] = read(name, parameters?.[position] ?? '')
    const { headers } = call.request
    const key = takesBody ? (headers.get('idempotency-key') ?? undefined) : undefined
    const stepUp = takesStepUp ? (headers.get('x-step-up') ?? undefined) : undefined
    const outcome = executor.execute(operation, { actor, request: call, input, key, stepUp })
    if (!(outcome instanceof Promise)) return answered(call, outcome, input)
    return outcome.then(
      (value) => answered(call, value, input),
      (error: unknown) => failed(call, error),
    )
  }

  const proceed = (call: RestCall, caller: Caller | null, parameters: PathParameters) => {
    const { request } = call
    if (raw !== undefined) {
      return readRawInput(request, raw)
        .then((input) => execute(call, caller, input, parameters))
        .then((response) => welcomed(edge, call, response))
        .catch((error: unknown) => failed(call, error))
    }
    if (!takesBody || !hasBody(request.headers)) return execute(call, caller, {}, parameters)
    return readBody(request)
      .then((input) => execute(call, caller, input, parameters))
      .catch((error: unknown) => failed(call, error))
  }

  return (request, parameters) => {
    const call = new RestCall(edge, request)
    try {
      const caller = admit(edge, call, admission)
      if (!(caller instanceof Promise)) return proceed(call, caller, parameters)
      return caller
        .then((service) => proceed(call, service, parameters))
        .catch((error: unknown) => failed(call, error))
    } catch (error) {
      return failed(call, error)
    }
  }
}

/** The input of an operation that takes its body as it comes. */
async function readRawInput(request: Request, raw: RawBody): Promise<Record<string, unknown>> {
  const input: Record<string, unknown> = { [raw.field]: await readRawBody(request) }
  for (const [field, header] of Object.entries(raw.headers)) {
    const text = request.headers.get(header)
    if (text !== null) input[field] = text
  }
  return input
}

/**
 * Whoever signs needs no token: what was accepted does not count against its address, so that a
 * provider is held up by forgeries of its own alone.
 */
function welcomed(edge: Edge, call: RestCall, response: Response): Response {
  if (response.ok && call.quota !== undefined) edge.quota.giveBack(call.address)
  return response
}
