import { Authenticator, authFeature } from '../../src/auth/index.ts'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { Failure } from '../../src/base/errors.ts'
import type { Caller } from '../../src/kernel/access.ts'
import type { Feature } from '../../src/kernel/feature.ts'
import { mailFeature } from '../../src/mail/index.ts'
import { testKernel, type TestKernelOptions } from '../support/kernel.ts'

/** Identity on a fresh database, and the calls that its tests make all the time. */
export async function identity(
  options: Omit<TestKernelOptions, 'features'> & { more?: readonly Feature[] } = {},
) {
  const { more = [], ...rest } = options
  const world = await testKernel({ features: [authFeature, mailFeature, ...more], ...rest })
  const { kernel, registry, executor } = world
  let calls = 0

  /** Calls an operation as an edge would; rejects with its failure. */
  async function call<T = Record<string, never>>(
    name: string,
    actor: Caller | null,
    input: unknown,
    key?: string,
    stepUp?: string,
    from: { address?: string; userAgent?: string } = {},
  ): Promise<T> {
    const operation = registry.operations.get(name)
    if (operation === undefined) throw new Error(`no operation ${name}`)
    const outcome = await executor.execute(operation, {
      actor,
      input,
      key,
      stepUp,
      request: {
        id: `r${++calls}`,
        transport: 'rest',
        // Each from elsewhere: limits have tests of their own.
        address: `10.0.${calls >> 8}.${calls & 255}`,
        userAgent: 'test device',
        connectionId: undefined,
        ...from,
      },
    })
    return outcome.output as T
  }

  return {
    ...world,
    call,
    authenticator: kernel.use(Authenticator),
    /** Registers somebody; the actor is what their token says. */
    async person(name: string, extra: object = {}) {
      const email = `${name}@example.org`
      const signedIn = await call<SignedIn>('auth.register', null, { email, password, ...extra })
      return { ...signedIn, actor: kernel.use(Authenticator).verify(signedIn.token) }
    },
    /** The code of the failure that a call ends in. */
    async refused(promise: Promise<unknown>): Promise<string> {
      return (await failure(promise)).code
    },
  }
}

export const password = 'correct horse battery'

/** The failure that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  throw new Error('was not refused')
}
