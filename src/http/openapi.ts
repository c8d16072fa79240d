import { type ErrorCode, ERRORS } from '../base/errors.ts'
import type { TObject, TSchema } from '../base/schema.ts'
import type { Registry } from '../kernel/feature.ts'
import { LIMITS } from '../kernel/limits.ts'
import { type Operation, type Route, stepsUp } from '../kernel/operation.ts'
import { exampleOf, type JsonSchema, type SchemaWriter, schemaWriter } from './json-schema.ts'
import { pathParameters, PREFIXES } from './mount.ts'
import { Problem } from './problem.ts'
import { isSecret } from './query.ts'

type Json = { [name: string]: unknown }

/** Refusals by status, with the names of their components. */
const REFUSALS: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthenticated',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Gone',
  413: 'TooLarge',
  415: 'UnsupportedMediaType',
  422: 'InvalidInput',
  429: 'RateLimited',
  503: 'Unavailable',
}
const OF_EVERY_ROUTE = [400, 401, 403, 404, 422, 429, 503]
const OF_WRITES = [...OF_EVERY_ROUTE, 409, 413, 415]

/**
 * The statuses of refusals that a route of this method may answer with; what takes the secret of a
 * link (a field marked `x-one-use`) may come too late for it.
 */
export function refusalStatuses(method: Route['method'], input?: TObject): number[] {
  const fields = Object.values(input?.properties ?? {})
  const gone = fields.some((field) => field['x-one-use'] === true) ? [410] : []
  const statuses = method === 'GET' ? OF_EVERY_ROUTE : OF_WRITES
  return [...statuses, ...gone].toSorted((a, b) => a - b)
}

/**
 * The OpenAPI 3.1 document of all operations with a route. Paths are relative to the servers, of
 * which each is a prefix that the whole table is mounted at.
 */
export function openApi(registry: Registry, version: string): Json {
  const schemas = schemaWriter()
  const paths: Record<string, Json> = {}
  for (const feature of registry.features) {
    for (const operation of feature.operations) {
      for (const [index, route] of operation.routes.entries()) {
        const path = route.path.replaceAll(/:([A-Za-z0-9_]+)/g, '{$1}')
        const item = (paths[path] ??= {})
        item[route.method.toLowerCase()] = entry(schemas, feature.name, operation, index)
      }
    }
  }
  schemas.write(Problem)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Rialto',
      version,
      description:
        'Every route is one operation; the same operations can be called over WebSocket ' +
        '(`/asyncapi.json`). Refusals are `application/problem+json` (RFC 9457); switch on `code`.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: PREFIXES.map((url, i) => ({
      url,
      description: i === 0 ? 'This server' : 'The same routes without a version',
    })),
    tags: registry.features
      .filter((f) => f.operations.some(({ routes }) => routes.length > 0))
      .map(({ name }) => ({ name })),
    paths,
    components: {
      schemas: schemas.components,
      responses: Object.fromEntries(
        Object.entries(REFUSALS).map(([status, name]) => [name, refusal(Number(status))]),
      ),
      parameters: { IdempotencyKey: IDEMPOTENCY_KEY, StepUp: STEP_UP },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An access token of `auth/login`' },
        apiKey: {
          type: 'apiKey',
          in: 'header',
          name: 'X-API-Key',
          description:
            'The key of a service, for operations that name a scope of it. Not together with ' +
            '`Authorization`, and not over sockets.',
        },
      },
    },
  }
}

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'The same key with the same request gets the first answer again, with `Idempotent-Replayed`.',
  schema: {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[\\x21-\\x7e]([\\x20-\\x7e]{0,253}[\\x21-\\x7e])?$',
  },
}

const STEP_UP = {
  name: 'X-Step-Up',
  in: 'header',
  required: false,
  description:
    'Where the call is answered `step_up_required`: the `step_up` that `POST /auth/mfa/verify` ' +
    'gives for the `challenge` of that answer and a code. Good for this very call, once, within ' +
    '5 minutes.',
  schema: { type: 'string', minLength: 43, maxLength: 43 },
}

function refusal(status: number): Json {
  const codes = (Object.keys(ERRORS) as ErrorCode[]).filter((c) => ERRORS[c].status === status)
  const header = (description: string, type = 'string') => ({ description, schema: { type } })
  return {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title}`).join('; '),
    headers: {
      'X-Request-Id': header('Name it when you report the problem'),
      ...(status === 401 ? { 'WWW-Authenticate': header('RFC 6750') } : {}),
      ...(status === 429 || status === 503 ? { 'Retry-After': header('Seconds', 'integer') } : {}),
      ...(status === 429
        ? { RateLimit: header('What is left'), 'RateLimit-Policy': header('Of what') }
        : {}),
    },
    content: {
      'application/problem+json': {
        schema: {
          allOf: [
            { $ref: '#/components/schemas/Problem' },
            { properties: { status: { const: status }, code: { enum: codes } } },
          ],
        },
      },
    },
  }
}

/** One route of an operation; those after the first say whose alias they are. */
function entry(schemas: SchemaWriter, tag: string, operation: Operation, index: number): Json {
  const route = operation.routes[index] as Route
  const inPath = pathParameters(route.path).map(([, name]) => name)
  const { burst, perSecond } = LIMITS[operation.limit]
  return {
    operationId: index === 0 ? operation.name : `${operation.name}.alias${index}`,
    ...(index === 0 ? {} : { 'x-alias-of': operation.name }),
    summary: operation.summary,
    ...descriptionOf(operation),
    tags: [tag],
    security: securityOf(operation),
    'x-rate-limit': { name: operation.limit, burst, per_second: perSecond },
    parameters: [
      ...inPath.map((name) => parameter(schemas, operation.input, name, 'path')),
      ...(route.method === 'GET' || route.method === 'DELETE'
        ? Object.keys(operation.input.properties)
            .filter((name) => !inPath.includes(name) && !isSecret(fieldOf(operation, name)))
            .map((name) => parameter(schemas, operation.input, name, 'query'))
        : []),
      ...Object.entries(operation.raw?.headers ?? {}).map(([field, header]) => ({
        ...parameter(schemas, operation.input, field, 'header'),
        name: header,
      })),
      ...(operation.idempotent ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : []),
      ...(stepsUp(operation) ? [{ $ref: '#/components/parameters/StepUp' }] : []),
    ],
    ...requestBody(schemas, operation, route, inPath),
    responses: {
      [operation.status]: success(schemas, operation),
      ...Object.fromEntries(
        refusalStatuses(route.method, operation.input).map((status) => [
          status,
          { $ref: `#/components/responses/${REFUSALS[status]}` },
        ]),
      ),
    },
  }
}

/** Either of these; of an API key, the scopes that it needs. */
function securityOf({ access }: Operation): Json[] {
  if (access.kind === 'anyone') return []
  const key = access.scope === undefined ? [] : [{ apiKey: [access.scope] }]
  return access.kind === 'service' ? key : [{ bearer: [] }, ...key]
}

function descriptionOf(operation: Operation): Json {
  const { description, access } = operation
  const roles = access.kind === 'user' ? access.roles : undefined
  const factor = 'May need a fresh second factor: `step_up_required` comes with a `challenge`.'
  const sentences = [
    description,
    stepsUp(operation) && factor,
    roles && `Only for: ${roles.join(', ')}.`,
  ].filter(Boolean)
  return sentences.length === 0 ? {} : { description: sentences.join('\n\n') }
}

const fieldOf = ({ input }: Operation, name: string) => input.properties[name] as TSchema

function parameter(schemas: SchemaWriter, input: TObject, name: string, place: string): Json {
  const schema = input.properties[name] as TSchema | undefined
  if (schema === undefined) throw new Error(`no input field for the path parameter ${name}`)
  const required = place === 'path' || (input.required ?? []).includes(name)
  return { name, in: place, required, schema: schemas.write(schema) }
}

function requestBody(
  schemas: SchemaWriter,
  operation: Operation,
  { method }: Route,
  inPath: readonly string[],
): Json {
  const { input, raw } = operation
  if (raw !== undefined) {
    // Described as it is; what is inside, the sender's own documents say.
    return { requestBody: { required: true, content: { [raw.type]: { schema: {} } } } }
  }
  const fields = Object.keys(input.properties).filter(
    (name) => !inPath.includes(name) && (method !== 'DELETE' || isSecret(fieldOf(operation, name))),
  )
  if (method === 'GET' || fields.length === 0) return {}
  const required = (input.required ?? []).filter((name) => fields.includes(name))
  const schema: JsonSchema = {
    ...schemas.write(input),
    properties: Object.fromEntries(
      fields.map((name) => [name, schemas.write(input.properties[name] as TSchema)]),
    ),
  }
  delete schema['required']
  if (required.length > 0) schema['required'] = required
  return {
    requestBody: {
      required: required.length > 0,
      content: { 'application/json': { schema, ...bodyExample(operation, fields) } },
    },
  }
}

/** An example is only shown when the operation would take it. */
function bodyExample(operation: Operation, fields: readonly string[]): Json {
  const example = exampleOf(operation.input) as Record<string, unknown>
  if (!operation.validInput.check(example)) return {}
  return {
    example: Object.fromEntries(Object.entries(example).filter(([name]) => fields.includes(name))),
  }
}

function success(schemas: SchemaWriter, operation: Operation): Json {
  const { status, output, idempotent, media } = operation
  const description = { 200: 'Done', 201: 'Created', 204: 'Done; nothing to say' }[status] ?? 'Done'
  return {
    description,
    ...(idempotent
      ? {
          headers: {
            'Idempotent-Replayed': {
              description: '`true` when this is the answer of an earlier request',
              schema: { type: 'string', enum: ['true'] },
            },
          },
        }
      : {}),
    ...(status === 204 ? {} : { content: contentOf(schemas, output, media) }),
  }
}

function contentOf(schemas: SchemaWriter, output: TSchema, media: Operation['media']): Json {
  if (media === undefined) return { 'application/json': { schema: schemas.write(output) } }
  const [type = ''] = media.type.split(';')
  return { [type]: { schema: { type: 'string' } } }
}
