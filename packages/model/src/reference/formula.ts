// Arithmetic as people write it in a case file ("float32(u8) / float32(255)", "it<warmup: max*(it+1)/(warmup+1); else …"), parsed and evaluated over
// whatever the reader supplies: numbers for a learning rate, exprs for a transform.

/** What a formula means: numbers, names, calls and operators of some kind of value. */
export type Algebra<T> = {
  readonly number: (x: number) => T
  readonly name: (name: string, indexed: boolean) => T
  readonly call: (name: string, operands: readonly T[]) => T
  readonly binary: (operator: string, a: T, b: T) => T
  readonly negate: (x: T) => T
}

type Token = { readonly kind: 'number' | 'name' | 'mark'; readonly text: string }

const TOKEN = /\s*(?:(\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|\/\/|<=|>=|==|[-+*/^%()<>[\],:]))/iy
const LONGEST = 2000

function tokens(text: string): Token[] {
  if (text.length > LONGEST) throw new FormulaError(`a formula of ${text.length} characters`)
  const plain = text
    .replace(/[·×]/g, '*')
    .replace(/[−–]/g, '-')
    .replace(/⌊/g, 'floor(')
    .replace(/⌋/g, ')')
    .replace(/π/g, 'pi')
    .replace(/≤/g, '<=')
    .replace(/≥/g, '>=')
  const out: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < plain.length) {
    const from = TOKEN.lastIndex
    const found = TOKEN.exec(plain)
    if (!found) {
      if (plain.slice(from).trim() === '') break
      throw new FormulaError(`"${plain.slice(from).trim().slice(0, 20)}" in "${text}"`)
    }
    const [, number, name, mark] = found
    out.push(
      number !== undefined
        ? { kind: 'number', text: number }
        : name !== undefined
          ? { kind: 'name', text: name }
          : { kind: 'mark', text: mark },
    )
  }
  return out
}

const BINDING: Readonly<Record<string, number>> = {
  '<': 1,
  '<=': 1,
  '>': 1,
  '>=': 1,
  '==': 1,
  '+': 2,
  '-': 2,
  '*': 3,
  '/': 3,
  '//': 3,
  '%': 3,
  '^': 5,
  '**': 5,
}
const DEEPEST = 100

/**
 * The value of one formula.
 * @throws {FormulaError} it is no formula, or says something that the algebra does not know
 */
export function evaluateFormula<T>(text: string, algebra: Algebra<T>): T {
  const all = tokens(text)
  let at = 0
  let depth = 0
  const wrong = (): never => {
    throw new FormulaError(all[at] ? `"${all[at].text}" is not expected in "${text}"` : `"${text}" ends too early`)
  }
  const is = (mark: string): boolean => all[at]?.kind === 'mark' && all[at].text === mark
  const eat = (mark: string): void => {
    if (!is(mark)) wrong()
    at++
  }
  const primary = (): T => {
    if (++depth > DEEPEST) throw new FormulaError(`"${text.slice(0, 40)}…" is nested deeper than ${DEEPEST}`)
    try {
      const token = all[at]
      if (!token) return wrong()
      if (token.kind === 'number') {
        at++
        return algebra.number(Number(token.text))
      }
      if (token.kind === 'name') {
        at++
        if (is('(')) {
          at++
          const operands: T[] = []
          while (!is(')')) {
            operands.push(climb(1))
            if (!is(')')) eat(',')
          }
          at++
          return algebra.call(token.text, operands)
        }
        // "mean[c]", "std[:, None, None]": an index that runs along with the tensor
        const indexed = is('[')
        if (indexed) {
          while (at < all.length && !is(']')) at++
          eat(']')
        }
        return algebra.name(token.text, indexed)
      }
      if (is('-')) {
        at++
        return algebra.negate(climb(4))
      }
      if (is('+')) {
        at++
        return climb(4)
      }
      eat('(')
      const inner = climb(1)
      eat(')')
      return inner
    } finally {
      depth--
    }
  }
  const climb = (least: number): T => {
    let left = primary()
    for (;;) {
      const token = all[at]
      const binding = token?.kind === 'mark' ? BINDING[token.text] : undefined
      if (binding === undefined || binding < least) return left
      at++
      // powers bind to the right
      left = algebra.binary(token.text, left, climb(binding === 5 ? 5 : binding + 1))
    }
  }
  const value = climb(1)
  if (at < all.length) wrong()
  return value
}

const FUNCTIONS: Readonly<Record<string, (...x: number[]) => number>> = {
  cos: Math.cos,
  sin: Math.sin,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  floor: Math.floor,
  ceil: Math.ceil,
  abs: Math.abs,
  min: Math.min,
  max: Math.max,
  pow: (a, b) => a ** b,
  float: (x) => x,
  float32: Math.fround,
  int: Math.trunc,
}
const OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '//': (a, b) => Math.floor(a / b),
  '%': (a, b) => a % b,
  '^': (a, b) => a ** b,
  '**': (a, b) => a ** b,
  '<': (a, b) => Number(a < b),
  '<=': (a, b) => Number(a <= b),
  '>': (a, b) => Number(a > b),
  '>=': (a, b) => Number(a >= b),
  '==': (a, b) => Number(a === b),
}

/** Formulas over numbers; `lookup` gives names their values. */
export const numbers = (lookup: (name: string) => number | undefined): Algebra<number> => ({
  number: (x) => x,
  negate: (x) => -x,
  binary: (operator, a, b) => OPERATORS[operator](a, b),
  name: (name) => {
    const value = name === 'pi' ? Math.PI : lookup(name)
    if (value === undefined) throw new FormulaError(`"${name}" means nothing here`)
    return value
  },
  call: (name, operands) => {
    if (!Object.hasOwn(FUNCTIONS, name)) throw new FormulaError(`there is no function "${name}"`)
    return FUNCTIONS[name](...operands)
  },
})

/** A text cut at a mark that stands in no bracket. */
export function cutOutside(text: string, marks: RegExp): string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i])) depth++
    else if (')]}'.includes(text[i])) depth--
    else if (depth === 0 && marks.test(text[i])) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  return [...parts, text.slice(from)].map((p) => p.trim()).filter((p) => p !== '')
}

/** Text that is no formula. */
export class FormulaError extends Error {
  override name = 'model.FormulaError'
}
