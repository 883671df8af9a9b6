// Documents: JSON text that keeps bigint and bytes, one text a value (keys sorted); what the store keeps and what peers say to each other.

/** What a document may hold: JSON's values, bigint and bytes. `undefined` properties are dropped, as in JSON. */
export type Document =
  | null
  | boolean
  | number
  | string
  | bigint
  | Uint8Array
  | readonly Document[]
  | { readonly [key: string]: Document | undefined }

/** Deepest nesting that is written or read; deeper values are a mistake or an attack. */
export const MAX_DOCUMENT_DEPTH = 64

/** Longest bigint in a document, in digits: reading longer ones takes more than linear time, and nothing here is that large. */
const MAX_BIGINT_DIGITS = 1000

const BIGINT_TAG = '$bigint'
const BYTES_TAG = '$bytes'
// A plain object whose only key starts with '$' is wrapped in this, so that no stored value can pass for a tagged one.
const ESCAPE_TAG = '$object'

/** Text of a document. Throws DocumentError for functions, symbols, NaN, infinities, class instances and nesting beyond 64. */
export function encodeDocument(value: unknown): string {
  const text = JSON.stringify(tag(value, '', 0))
  if (text === undefined) throw new DocumentError('', 'undefined cannot be stored')
  return text
}

/** The document that `encodeDocument` wrote; throws DocumentError when the text is not one. */
export function decodeDocument(text: string): unknown {
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch (cause) {
    throw new DocumentError('', `not JSON (${text.length} characters)`, { cause })
  }
  return untag(raw, '', 0)
}

function tag(value: unknown, path: string, depth: number): unknown {
  if (depth > MAX_DOCUMENT_DEPTH) throw new DocumentError(path, `nested deeper than ${MAX_DOCUMENT_DEPTH}`)
  if (value === null || value === undefined || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new DocumentError(path, `${value} has no JSON form`)
    return value
  }
  if (typeof value === 'bigint') {
    const digits = value.toString()
    if (digits.length > MAX_BIGINT_DIGITS)
      throw new DocumentError(path, `a bigint of ${digits.length} digits; at most ${MAX_BIGINT_DIGITS}`)
    return { [BIGINT_TAG]: digits }
  }
  if (value instanceof Uint8Array) return { [BYTES_TAG]: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  if (Array.isArray(value)) return value.map((item, i) => tag(item ?? null, `${path}[${i}]`, depth + 1))
  if (typeof value !== 'object') throw new DocumentError(path, `a ${typeof value} cannot be stored`)
  const proto = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null)
    throw new DocumentError(path, `a ${proto.constructor?.name ?? 'class instance'} cannot be stored; store a plain object`)
  const keys = Object.keys(value)
    .filter((key) => (value as Record<string, unknown>)[key] !== undefined)
    .sort()
  // Built from entries, so that a key named __proto__ becomes a property and not a prototype.
  const out = Object.fromEntries(keys.map((key) => [key, tag((value as Record<string, unknown>)[key], `${path}.${key}`, depth + 1)]))
  return keys.length === 1 && keys[0].startsWith('$') ? { [ESCAPE_TAG]: out } : out
}

function untag(value: unknown, path: string, depth: number): unknown {
  if (depth > 2 * MAX_DOCUMENT_DEPTH + 2) throw new DocumentError(path, `nested deeper than ${MAX_DOCUMENT_DEPTH}`)
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map((item, i) => untag(item, `${path}[${i}]`, depth + 1))
  const keys = Object.keys(value)
  const fields = value as Record<string, unknown>
  if (keys.length === 1 && keys[0].startsWith('$')) {
    const held = fields[keys[0]]
    if (keys[0] === BIGINT_TAG && typeof held === 'string' && held.length <= MAX_BIGINT_DIGITS && /^-?\d+$/.test(held)) return BigInt(held)
    if (keys[0] === BYTES_TAG && typeof held === 'string') return new Uint8Array(Buffer.from(held, 'base64'))
    if (keys[0] === ESCAPE_TAG && held !== null && typeof held === 'object')
      return untagFields(held as Record<string, unknown>, path, depth)
    throw new DocumentError(path, `unknown tag ${keys[0]}`)
  }
  return untagFields(fields, path, depth)
}

function untagFields(fields: Record<string, unknown>, path: string, depth: number): unknown {
  return Object.fromEntries(Object.keys(fields).map((key) => [key, untag(fields[key], `${path}.${key}`, depth + 1)]))
}

export class DocumentError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`document${path === '' ? '' : ` at ${path}`}: ${reason}`, options)
    this.name = 'DocumentError'
  }
}
