import { Failure } from '../base/errors.ts'
import { refuseNul } from '../kernel/input.ts'

/** Longest JSON body; files have routes of their own. */
export const BODY_BYTES_MAX = 1024 * 1024

/** Whether a request brings a body, by what its headers say (RFC 9112, 6.3). */
export function hasBody(headers: Headers): boolean {
  const length = headers.get('content-length')
  return length === null ? headers.has('transfer-encoding') : length !== '0'
}

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Reads a JSON object.
 *
 * @throws Failure `unsupported_media_type`, `too_large`, `malformed_json` (also for what is not
 *   UTF-8), `validation_failed` for JSON that is no object, `bad_request` for a body cut short
 */
export async function readBody(request: Request): Promise<Record<string, unknown>> {
  checkMediaType(request.headers)
  const bytes = await readBytes(request)
  if (bytes.byteLength === 0) return {}
  let value: unknown
  let text: string
  try {
    text = decoder.decode(bytes)
    value = JSON.parse(text)
  } catch {
    throw new Failure('malformed_json', 'The body is not JSON in UTF-8')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('/', 'Expected a JSON object')
  }
  // Only an escape can bring the character into JSON, so most bodies are not walked.
  if (text.includes('\\u0000')) refuseNul(value)
  return value as Record<string, unknown>
}

/**
 * Reads a body as it is, of whatever type.
 *
 * @throws Failure `too_large`, `unsupported_media_type` for a compressed one, `bad_request` for one
 *   cut short
 */
export async function readRawBody(request: Request): Promise<Uint8Array> {
  checkCoding(request.headers)
  return await readBytes(request)
}

function checkMediaType(headers: Headers): void {
  const [type = '', ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';')
  const charset = parameters.map((p) => p.trim()).find((p) => p.startsWith('charset='))
  const isJson = type.trim() === 'application/json'
  if (!isJson || (charset !== undefined && !/^charset="?utf-8"?$/.test(charset))) {
    throw new Failure('unsupported_media_type', 'A body must be application/json in UTF-8')
  }
  checkCoding(headers)
}

function checkCoding(headers: Headers): void {
  const coding = headers.get('content-encoding')
  if (coding !== null && coding.toLowerCase() !== 'identity') {
    throw new Failure('unsupported_media_type', 'A body must not be compressed')
  }
}

const tooLarge = () => new Failure('too_large', `A body has at most ${BODY_BYTES_MAX} bytes`)

async function readBytes(request: Request): Promise<Uint8Array> {
  const length = request.headers.get('content-length')
  if (Number(length) > BODY_BYTES_MAX) throw tooLarge()
  try {
    // With a length, the parser has made sure that no more comes.
    if (length !== null) return await request.bytes()
    return await readChunks(request.body)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('bad_request', 'The body did not arrive whole', { cause: error })
  }
}

/** Stops, and so stops the sender, as soon as the limit is passed. */
async function readChunks(body: Request['body']): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.byteLength
    if (size > BODY_BYTES_MAX) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function invalid(path: string, message: string): Failure {
  return new Failure('validation_failed', 'Invalid input', { errors: [{ path, message }] })
}
