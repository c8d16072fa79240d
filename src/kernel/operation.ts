import type { Failure } from '../base/errors.ts'
import { compile, type Static, type TObject, type TSchema, type Validator } from '../base/schema.ts'
import type { Access, Actor, ApiKeyActor, Caller, Scope } from './access.ts'
import type { BatchContext, BatchItem, Context, WriteContext } from './context.ts'
import type { LimitName } from './limits.ts'

type ActorOf<A extends Access> = A extends { kind: 'service' }
  ? ApiKeyActor
  : A extends { kind: 'user'; scope: Scope }
    ? Caller
    : A extends { kind: 'user' }
      ? Actor
      : Actor | null

/** A REST answer that is no JSON: a file, a table for a spreadsheet. */
export interface Media<Input, Output> {
  /** Media type: `text/csv; charset=utf-8`. */
  readonly type: string
  readonly render: (output: Output, input: Input) => RenderedMedia
}
/** What `Media.render` makes of an output. */
export interface RenderedMedia {
  readonly body: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * A request whose body goes to the handler as the bytes that came, because a signature is over
 * them. REST only; the fields of the input are named here.
 */
export interface RawBody {
  /** Field that holds the bytes: `t.Uint8Array()`. */
  readonly field: string
  /** What the body is, for the document. It is not looked at. */
  readonly type: string
  /** Headers that the handler needs, by the field that each becomes. */
  readonly headers: Readonly<Record<string, string>>
}

interface Common<I extends TObject, O extends TSchema, A extends Access> {
  readonly summary: string
  readonly description?: string
  /** `METHOD /path/:field`; the path is mounted below `/api/v1` and `/api`. */
  readonly rest?: string
  /** More routes of the same operation. */
  readonly aliases?: readonly string[]
  /** Status of a successful REST answer, 200 unless something is created. */
  readonly status?: 200 | 201 | 204
  /** False for what makes no sense on a socket (signing in). */
  readonly socket?: boolean
  readonly access: A
  readonly limit: LimitName
  readonly input: I
  readonly output: O
  /** Over REST the answer is this instead of JSON; then there is no socket form. */
  readonly media?: Media<Static<I>, Static<O>>
  /** The body is taken as it comes; then there is no socket form. */
  readonly raw?: RawBody
}

type StepUpRule<I extends TObject, A extends Access> = (
  ctx: WriteContext<ActorOf<A>>,
  input: Static<I>,
) => boolean | Promise<boolean>

interface HandlerDefinition<I extends TObject, O extends TSchema, A extends Access, P> {
  /** Accepts an idempotency key: a repeated request gets the first answer. */
  readonly idempotent?: boolean
  /**
   * The answer holds secrets: the idempotency record stores what this returns (ids), and
   * `replay` makes an answer from it.
   */
  readonly secretOutput?: {
    readonly remember: (output: Static<O>) => string
    readonly replay: (ctx: WriteContext<ActorOf<A>>, remembered: string) => Promise<Static<O>>
  }
  /**
   * Whether this very call needs a fresh second factor, asked in the transaction. One that needs it
   * and does not bring it is answered `step_up_required`.
   */
  readonly stepUp?: StepUpRule<I, A>
  /** Slow or external work before the transaction opens (password hashing), done once. */
  readonly prepare?: (ctx: Context<ActorOf<A>>, input: Static<I>) => Promise<P>
  /** Runs in one transaction with its idempotency record and its effects. */
  readonly handler: (
    ctx: WriteContext<ActorOf<A>>,
    input: Static<I>,
    prepared: P,
  ) => Promise<Static<O>>
}
interface RunDefinition<I extends TObject, O extends TSchema, A extends Access> {
  /** Reads, or opens its own transactions. */
  readonly run: (ctx: Context<ActorOf<A>>, input: Static<I>) => Promise<Static<O>>
}
interface ImmediateDefinition<I extends TObject, O extends TSchema, A extends Access> {
  /** Memory only: answers synchronously when it can, so that a frame costs no promise. */
  readonly immediate: (ctx: Context<ActorOf<A>>, input: Static<I>) => Static<O> | Promise<Static<O>>
}
interface BatchDefinition<I extends TObject, O extends TSchema, A extends Access> {
  /** What arrives together is one transaction and one commit; one failing item fails alone. */
  readonly batch: (
    ctx: BatchContext,
    items: readonly BatchItem<Static<I>>[],
  ) => Promise<(Static<O> | Failure)[]>
  /** As of a handler. Calls of an operation that has it are not gathered. */
  readonly stepUp?: StepUpRule<I, A>
}

/**
 * The definition of an operation: exactly one of the four forms. `P` is what `prepare` hands to the
 * handler.
 */
export type OperationDefinition<
  I extends TObject,
  O extends TSchema,
  A extends Access,
  P = undefined,
> = Common<I, O, A> &
  (
    | HandlerDefinition<I, O, A, P>
    | RunDefinition<I, O, A>
    | ImmediateDefinition<I, O, A>
    | BatchDefinition<I, O, A>
  )

/** An operation as the edges see it. */
export interface Operation {
  readonly name: string
  readonly summary: string
  readonly description: string | undefined
  readonly routes: readonly Route[]
  readonly status: number
  readonly socket: boolean
  readonly access: Access
  readonly limit: LimitName
  readonly input: TObject
  readonly output: TSchema
  readonly validInput: Validator
  readonly validOutput: Validator
  readonly idempotent: boolean
  readonly media: Media<unknown, unknown> | undefined
  readonly raw: RawBody | undefined
  readonly form: Form
}

/** A handler with its types erased: the executor has validated what goes in. */
export interface HandlerForm {
  readonly secretOutput?: {
    readonly remember: (output: never) => string
    readonly replay: (ctx: WriteContext<never>, remembered: string) => Promise<unknown>
  }
  readonly stepUp?: (ctx: WriteContext<never>, input: never) => boolean | Promise<boolean>
  readonly prepare?: (ctx: Context<never>, input: never) => Promise<unknown>
  readonly handler: (ctx: WriteContext<never>, input: never, prepared: never) => Promise<unknown>
}

/** A batch handler with its types erased. */
export interface BatchForm {
  readonly batch: (ctx: BatchContext, items: readonly BatchItem<never>[]) => Promise<unknown[]>
  readonly stepUp?: HandlerForm['stepUp']
}

/** What runs an operation. */
export type Form =
  | ({ readonly kind: 'handler' } & HandlerForm)
  | {
      readonly kind: 'run'
      readonly run: (ctx: Context<never>, input: never) => Promise<unknown>
    }
  | {
      readonly kind: 'immediate'
      readonly immediate: (ctx: Context<never>, input: never) => unknown
    }
  | ({ readonly kind: 'batch' } & BatchForm)

/** Whether some of its calls need a fresh second factor. */
export const stepsUp = ({ form }: Operation): boolean =>
  'stepUp' in form && form.stepUp !== undefined

/** `GET /users/:id` taken apart. The first route of an operation is its canonical one. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
}

const ROUTE = /^(GET|POST|PUT|PATCH|DELETE) (\/[A-Za-z0-9_:./-]+)$/

function route(text: string): Route {
  const match = ROUTE.exec(text)
  if (match === null) throw new Error(`not a route: ${text}`)
  return { method: match[1] as Route['method'], path: match[2] as string }
}

/**
 * Defines an operation once for every way in: from this come the REST route, the socket call, the
 * documents, the limit, the idempotency record and the authorization test.
 *
 * @example
 * export const getPool = operation('pools.get', {
 *   summary: 'One pool', rest: 'GET /pools/:id', access: user(), limit: 'read',
 *   input: input({ id: Uuid }), output: Pool,
 *   async run({ kernel }, { id }) { … },
 * })
 */
export function operation<
  I extends TObject,
  O extends TSchema,
  const A extends Access,
  P = undefined,
>(name: string, definition: OperationDefinition<I, O, A, P>): Operation {
  refuseImpossible(name, definition)
  const texts = [definition.rest, ...(definition.aliases ?? [])].filter((x) => x !== undefined)
  return {
    name,
    summary: definition.summary,
    description: definition.description,
    routes: texts.map(route),
    status: definition.status ?? 200,
    socket: definition.socket ?? (definition.media ?? definition.raw) === undefined,
    access: definition.access,
    limit: definition.limit,
    input: definition.input,
    output: definition.output,
    validInput: compile(definition.input),
    validOutput: compile(definition.output),
    idempotent: 'batch' in definition || definitionIsIdempotent(definition),
    media: definition.media as Media<unknown, unknown> | undefined,
    raw: definition.raw,
    form: formOf(definition),
  }
}

/**
 * API keys have neither sockets, which batches are for, nor a second factor: where both they and
 * users may ask, it is for `stepUp` to leave the keys out.
 */
function refuseImpossible(
  name: string,
  { access, ...definition }: { access: Access; socket?: boolean; media?: object; raw?: RawBody },
): void {
  const { media, raw, socket } = definition
  if (socket === true && (media ?? raw) !== undefined) throw new Error(`${name}: REST only`)
  if (access.kind === 'user' && access.scope === undefined) return
  if ('batch' in definition) throw new Error(`${name}: a batch is for signed-in users alone`)
  if ('stepUp' in definition && access.kind !== 'user') {
    throw new Error(`${name}: only users have a second factor`)
  }
}

function formOf<I extends TObject, O extends TSchema, A extends Access, P>(
  definition: OperationDefinition<I, O, A, P>,
): Form {
  if ('batch' in definition) {
    const { batch, stepUp } = definition
    return { kind: 'batch', batch, ...(stepUp === undefined ? {} : { stepUp }) }
  }
  if ('immediate' in definition) return { kind: 'immediate', immediate: definition.immediate }
  if ('run' in definition) return { kind: 'run', run: definition.run }
  const { handler, prepare, stepUp, secretOutput } = definition
  return {
    kind: 'handler',
    handler,
    ...(prepare === undefined ? {} : { prepare }),
    ...(stepUp === undefined ? {} : { stepUp }),
    ...(secretOutput === undefined ? {} : { secretOutput }),
  }
}

function definitionIsIdempotent(definition: object): boolean {
  return 'idempotent' in definition && definition.idempotent === true
}
