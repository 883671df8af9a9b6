// Measures the functions of model/math and model/trig: the expr DAG itself is compiled to JavaScript and run against a float64 reference.
//   node tools/ulp.ts [name…] [--stride 16]   largest error in units in the last place over all 2^32 inputs (or every stride-th)
//   node tools/ulp.ts --vectors               rewrite vectors/functions.json (golden data move only when asked)
//   node tools/ulp.ts --check                 exit 1 where vectors/functions.json differs from what would be written
//
// An error is |result - reference| over the distance between neighbouring f32 at the reference (2^-149 below the normal range). Results that the function
// flushes to 0 on purpose are counted apart. Math.exp and its kind are a reference here and nowhere else.
import { readFileSync, writeFileSync } from 'node:fs'
import { constI32, type Expr, input, interpret, makeGraph, type Slot } from '@bitloom/graph'
import * as math from '@bitloom/model/math'
import { pow } from '@bitloom/model/pow'
import * as trig from '@bitloom/model/trig'
import { floatSeams, randomWords } from './words.ts'

/** What one function promises, and where. */
export type Measured = {
  readonly of: (x: Expr) => Expr
  readonly reference: (x: number) => number
  /** Inputs that the figure is about; all by default. */
  readonly domain?: (x: number) => boolean
}

/** erf by its series below 2.5, else by the continued fraction of erfc (Abramowitz and Stegun 7.1.6, 7.1.14), in float64. */
export function erf64(x: number): number {
  const a = Math.abs(x)
  if (Number.isNaN(x)) return x
  if (a > 6) return Math.sign(x)
  if (a < 2.5) {
    let term = x
    let sum = x
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1)
      sum += term
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
  }
  let fraction = 0
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (a + fraction)
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)))
}

const sigmoid64 = (x: number): number => 1 / (1 + Math.exp(-x))
/** sin(2π·u + quarters·π/2): whole quarter turns are taken off exactly, so that zeros are zeros. */
const sinQuarters = (u: number, quarters: number): number => {
  const quarter = Math.round(4 * u)
  const r = 2 * Math.PI * (u - quarter / 4)
  const value = (((quarter + quarters) % 4) + 4) % 4
  return [Math.sin(r), Math.cos(r), -Math.sin(r), -Math.cos(r)][value]
}

export const FUNCTIONS: Record<string, Measured> = {
  exp: { of: math.exp, reference: Math.exp },
  expm1: { of: math.expm1, reference: Math.expm1 },
  log: { of: math.log, reference: Math.log },
  log1p: { of: math.log1p, reference: Math.log1p },
  tanh: { of: math.tanh, reference: Math.tanh },
  sigmoid: { of: math.sigmoid, reference: sigmoid64 },
  silu: { of: math.silu, reference: (x) => (x === Number.NEGATIVE_INFINITY ? -0 : x * sigmoid64(x)) },
  softplus: { of: math.softplus, reference: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))) },
  erf: { of: math.erf, reference: erf64 },
  gelu: { of: math.gelu, reference: (x) => 0.5 * x * (1 + erf64(x * Math.SQRT1_2)), domain: (x) => x >= -1 },
  geluTanh: {
    of: math.geluTanh,
    reference: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
    domain: (x) => x >= -1,
  },
  rsqrt: { of: math.rsqrt, reference: (x) => 1 / Math.sqrt(x) },
  sin: { of: trig.sin, reference: Math.sin, domain: (x) => Math.abs(x) <= 32768 },
  cos: { of: trig.cos, reference: Math.cos, domain: (x) => Math.abs(x) <= 32768 },
  sinTurns: { of: trig.sinTurns, reference: (u) => sinQuarters(u, 0), domain: (u) => Math.abs(u) < 2 ** 21 },
  cosTurns: { of: trig.cosTurns, reference: (u) => sinQuarters(u, 1), domain: (u) => Math.abs(u) < 2 ** 21 },
}

/** JavaScript for one op on scalars; operands are names. */
const CODE: Record<string, (a: string, b: string, c: string, e: Expr) => string> = {
  input: (_a, _b, _c, e) => (e.attrs[0] === 0 ? 'x' : 'y'),
  const: (_a, _b, _c, e) => (e.dtype === 'i32' ? `${e.attrs[0] | 0}` : literal(e.attrs[0])),
  reshape: (a) => a,
  expand: (a) => a,
  neg: (a) => `-${a}`,
  abs: (a) => `Math.abs(${a})`,
  not: (a) => `~${a}`,
  sqrt: (a) => `fround(Math.sqrt(${a}))`,
  floor: (a) => `Math.floor(${a})`,
  cast: (a, _b, _c, e) => (e.dtype === 'f32' ? `fround(${a})` : `truncate(${a})`),
  bitcast: (a, _b, _c, e) => (e.dtype === 'f32' ? `(I[0] = ${a}, F[0])` : `(F[0] = ${a}, ${a} === ${a} ? I[0] : 0x7fc00000)`),
  min: (a, b) => `(${b} < ${a} ? ${b} : ${a})`,
  max: (a, b) => `(${a} < ${b} ? ${b} : ${a})`,
  lt: (a, b) => `(${a} < ${b} ? 1 : 0)`,
  le: (a, b) => `(${a} <= ${b} ? 1 : 0)`,
  eq: (a, b) => `(${a} === ${b} ? 1 : 0)`,
  and: (a, b) => `${a} & ${b}`,
  or: (a, b) => `${a} | ${b}`,
  xor: (a, b) => `${a} ^ ${b}`,
  shl: (a, b) => `${a} << ${b}`,
  shr: (a, b) => `(${a} >>> ${b}) | 0`,
  sar: (a, b) => `${a} >> ${b}`,
  where: (a, b, c) => `(${a} !== 0 ? ${b} : ${c})`,
}
const ARITHMETIC: Record<string, string> = { add: '+', sub: '-', mul: '*', div: '/' }

function literal(bits: number): string {
  const x = new Float32Array(Uint32Array.of(bits).buffer)[0]
  return Object.is(x, -0) ? '-0' : `${x}`
}

/** A function of one or two f32 that does what the expr of `input(0)` and `input(1)` does, op by op. */
export function compile(of: (x: Expr, y: Expr) => Expr): (x: number, y?: number) => number {
  const root = of(input(0, 'f32', []), input(1, 'f32', []))
  const names = new Map<string, string>()
  const byExpr = new Map<Expr, string>()
  const lines: string[] = []
  const visit = (e: Expr): string => {
    const known = byExpr.get(e)
    if (known) return known
    const [a, b, c] = e.inputs.map(visit)
    const sign = ARITHMETIC[e.op]
    const integer = e.op === 'mul' ? `Math.imul(${a}, ${b})` : `(${a} ${sign} ${b}) | 0`
    const code = sign ? (e.dtype === 'f32' ? `fround(${a} ${sign} ${b})` : integer) : CODE[e.op]?.(a, b, c, e)
    if (code === undefined) throw new Error(`ulp: no JavaScript for ${e.op}`)
    let name = names.get(code)
    if (!name) {
      name = `v${names.size}`
      names.set(code, name)
      lines.push(`  const ${name} = ${code}`)
    }
    byExpr.set(e, name)
    return name
  }
  const result = visit(root)
  const body = [
    'const fround = Math.fround, F = new Float32Array(1), I = new Int32Array(F.buffer)',
    'const truncate = (x) => x !== x ? 0 : x >= 2147483648 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0',
    `return (x, y) => {\n${lines.join('\n')}\n  return ${result}\n}`,
  ]
  return new Function(body.join('\n'))() as (x: number, y?: number) => number
}

/** Distance between neighbouring f32 around a float64. */
export function ulpOf(x: number): number {
  const a = Math.abs(x)
  if (a < 2 ** -126) return 2 ** -149
  bits64[0] = a
  return 2 ** (Math.min(words64[1] >>> 20, 1023 + 127) - 1023 - 23)
}
const bits64 = new Float64Array(1)
const words64 = new Uint32Array(bits64.buffer)

/** Below this a 0 is a flush: e^x has no subnormal results, and x·sigmoid(x) is up to 89 times such a one. */
const FLUSHED = 2 ** -118

type Worst = { readonly ulp: number; readonly at: number; readonly flushed: number; readonly wrong: number; readonly inputs: number }

/** The largest error over every `stride`-th bit pattern; `flushed` inputs give 0 for a result below 2^-118, `wrong` ones differ in kind (NaN, infinity, sign of 0). */
export function measure({ of, reference, domain }: Measured, stride: number): Worst {
  const f = compile(of)
  const real = new Float32Array(1)
  const word = new Uint32Array(real.buffer)
  let [ulp, at, flushed, wrong, inputs] = [0, 0, 0, 0, 0]
  for (let bits = 0; bits < 2 ** 32; bits += stride) {
    word[0] = bits
    const x = real[0]
    if (domain && x === x && !domain(x)) continue
    inputs++
    const [y, expected] = [f(x), reference(x)]
    const rounded = Math.fround(expected)
    if (Object.is(y, rounded)) {
      if (y === 0 || y !== y || y === Number.POSITIVE_INFINITY || y === Number.NEGATIVE_INFINITY) continue
    } else if (y !== y || rounded !== rounded || Math.abs(y) === Number.POSITIVE_INFINITY || rounded === 0) {
      wrong++
      if (wrong === 1) console.error(`  first of another kind: f(${x}) = ${y}, reference ${expected}`)
      continue
    } else if (y === 0 && Math.abs(expected) < FLUSHED) {
      flushed++
      continue
    }
    const error = Math.abs(y - expected) / ulpOf(expected)
    if (error > ulp) [ulp, at] = [error, x]
  }
  return { ulp, at, flushed, wrong, inputs }
}

/** The largest error of pow over `count` random pairs whose powers are normal numbers. */
export function measurePow(count: number): { readonly ulp: number; readonly at: readonly [number, number]; readonly wrong: number } {
  const f = compile(pow)
  const next = randomWords(0x706f7773)
  const words = new Uint32Array(2)
  const [real, places] = [new Float32Array(words.buffer), [0, 0] as [number, number]]
  let [ulp, wrong] = [0, 0]
  for (let i = 0; i < count; i++) {
    // any positive x, or one near 1; y such that |y·log2 x| < 130
    words[0] = i % 2 === 0 ? next() >>> 1 : 0x3f000000 + (next() >>> 8)
    const x = real[0]
    if (!(x > 0 && x < Number.POSITIVE_INFINITY) || x === 1) continue
    real[1] = ((next() / 2 ** 32) * 260 - 130) / Math.log2(x)
    const y = real[1]
    const [got, expected] = [f(x, y), x ** y]
    if (expected < 2 ** -125.9 || expected > 2 ** 127.99) {
      if (expected > 2 ** 128.01 ? got !== Number.POSITIVE_INFINITY : expected < 2 ** -126.01 && got !== 0) wrong++
      continue
    }
    const error = Math.abs(got - expected) / ulpOf(expected)
    if (error > ulp || error !== error) [ulp, places[0], places[1]] = [error, x, y]
  }
  return { ulp, at: places, wrong }
}

const VECTORS = new URL('../vectors/functions.json', import.meta.url)
const hex = (words: Iterable<number>): string => `0x${Array.from(words, (w) => (w >>> 0).toString(16).padStart(8, '0')).join('')}`

/** 2,000 inputs: every seam, then words spread over signs and the exponents that matter, then any word. */
export function goldenInputs(): Uint32Array {
  const next = randomWords(0x66756e63)
  const words = [...new Set(floatSeams.map((w) => ((w & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : w >>> 0)))]
  while (words.length < 2000) {
    const w = next()
    const near = ((w & 0x807fffff) | ((96 + (next() % 40)) << 23)) >>> 0
    const word = words.length % 4 === 0 ? w : near
    if ((word & 0x7fffffff) <= 0x7f800000) words.push(word)
  }
  return Uint32Array.from(words)
}

/** The functions' results on `inputs`, by the interpreter: one graph, a state slot a function. */
export function goldenOutputs(inputs: Uint32Array): Record<string, Uint32Array> {
  const names = Object.keys(FUNCTIONS)
  const shape = [inputs.length]
  const x = input(names.length, 'f32', shape)
  const slots: Slot[] = [
    ...names.map((name): Slot => ({ name, kind: 'state', dtype: 'f32', shape })),
    { name: 'x', kind: 'data', dtype: 'f32', shape },
  ]
  const graph = makeGraph(
    slots,
    names.map((name) => FUNCTIONS[name].of(x)),
    constI32(0),
  )
  const blank = names.map(() => new Float32Array(inputs.length))
  const { next } = interpret(graph, [...blank, new Float32Array(inputs.buffer)])
  return Object.fromEntries(names.map((name, at) => [name, new Uint32Array(next[at].buffer)]))
}

/** The text of vectors/functions.json: `x` and a column a function, each one string of big-endian words. */
export function goldenText(): string {
  const x = goldenInputs()
  const columns = Object.entries(goldenOutputs(x)).map(([name, words]) => [name, hex(words)])
  return `${JSON.stringify({ x: hex(x), ...Object.fromEntries(columns) }, null, 1)}\n`
}

if (import.meta.main) {
  const args = process.argv.slice(2)
  if (args.includes('--vectors')) writeFileSync(VECTORS, goldenText())
  else if (args.includes('--check')) process.exitCode = readFileSync(VECTORS, 'utf8') === goldenText() ? 0 : 1
  else {
    const at = args.indexOf('--stride')
    const stride = at < 0 ? 1 : Number(args[at + 1])
    const named = args.filter((a, i) => !a.startsWith('--') && (at < 0 || i !== at + 1))
    if (named.length === 0 || named.includes('pow')) {
      const { ulp, at: pair, wrong } = measurePow(2 ** 28 / stride)
      console.log(
        `pow        ${ulp.toFixed(3)} ulp at ${pair.join(' ^ ')}; ${Math.floor(2 ** 28 / stride)} random pairs, ${wrong} of another kind`,
      )
    }
    for (const name of named.length > 0 ? named.filter((n) => n !== 'pow') : Object.keys(FUNCTIONS)) {
      const start = performance.now()
      const { ulp, at: x, flushed, wrong, inputs } = measure(FUNCTIONS[name], stride)
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      console.log(
        `${name.padEnd(10)} ${ulp.toFixed(3)} ulp at ${x}; ${inputs} inputs, ${flushed} flushed, ${wrong} of another kind; ${seconds} s`,
      )
    }
  }
}
