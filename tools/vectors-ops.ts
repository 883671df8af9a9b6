// Writes vectors/ops.json, the conformance suite of every op, from the interpreter: random, edge and shape cases for each op and dtype.
//   node tools/vectors-ops.ts           rewrite (golden data move only when asked)
//   node tools/vectors-ops.ts --check   exit 1 when the file differs from what would be written
import { readFileSync, writeFileSync } from 'node:fs'
import { allocate, type Data, type Dtype, interpret, type OpName, type Shape, sizeOf, toBytes } from '@bitloom/graph'
import { canonical } from '@bitloom/graph/f32'
import { graphOf, type OpCase, type TensorText } from '../test/vectors.ts'
import { floatEdges, floatWord, integerEdges, randomWords } from './words.ts'

export type Draw = (next: () => number) => number
type Operand = { dtype: Dtype; shape: Shape; data: Data }

/** A tensor whose words are `word(i)`; f32 with the one NaN, u8 the low byte. */
export const tensor = (dtype: Dtype, shape: Shape, word: (i: number) => number): Operand => {
  const data = allocate(dtype, sizeOf(shape))
  if (dtype === 'u8') for (let i = 0; i < data.length; i++) data[i] = word(i)
  else {
    const words = new Uint32Array(data.buffer)
    for (let i = 0; i < words.length; i++) words[i] = dtype === 'f32' ? canonical(word(i)) : word(i)
  }
  return { dtype, shape, data }
}

/** A float word of ordinary size, ±[2^-4, 2^4): sums round but seldom overflow. */
export const ordinary: Draw = (next) => {
  const w = next()
  return ((w & 0x807fffff) | ((123 + ((w >>> 23) & 7)) << 23)) >>> 0
}

/** The words whose pairs matter most, few because all pairs are written: the first with both signs, then every other. */
const FLOATS = [...new Set(floatEdges.map(canonical))].filter((_, i) => i % 2 === 0 || i < 16)
const INTS = integerEdges

class Suite {
  readonly cases: OpCase[] = []
  readonly next: () => number
  constructor(seed: number) {
    this.next = randomWords(seed)
  }

  /** Runs one op in the interpreter and keeps what it gave. `stated` is needed where the op does not imply its result. */
  add(name: string, op: OpName, operands: readonly Operand[], attrs: readonly number[] = [], stated: Partial<Operand> = {}): void {
    const first = operands[0] ?? { dtype: 'f32', shape: [] }
    const result = { dtype: stated.dtype ?? first.dtype, shape: stated.shape ?? first.shape }
    const { graph, position } = graphOf(op, attrs, operands, result)
    const { dtype, shape } = graph.exprs[position]!
    const slots = [op === 'input' ? stated.data! : allocate(graph.slots[0]!.dtype, sizeOf(shape)), ...operands.map((t) => t.data)]
    let data: Data | undefined
    interpret(graph, slots, (at, value) => {
      if (at === position) data = value
    })
    this.cases.push({ name: `${op} ${name}`, op, attrs, operands: operands.map(text), result: text({ dtype, shape, data: data! }) })
  }

  f32(shape: Shape, draw: Draw = ordinary): Operand {
    return tensor('f32', shape, () => draw(this.next))
  }
  i32(shape: Shape, draw: Draw = (next) => next() >>> (next() & 31)): Operand {
    return tensor('i32', shape, () => draw(this.next))
  }
  u8(shape: Shape): Operand {
    return tensor('u8', shape, () => this.next() & 255)
  }
  of(dtype: Dtype, shape: Shape): Operand {
    return dtype === 'f32' ? this.f32(shape, floatWord) : dtype === 'i32' ? this.i32(shape) : this.u8(shape)
  }
}

const text = (t: Operand): TensorText => ({ dtype: t.dtype, shape: t.shape, data: Buffer.from(toBytes(t.data)).toString('base64') })

/** Two tensors that hold every pair of `words`. */
const allPairs = (dtype: Dtype, words: readonly number[]): [Operand, Operand] => {
  const n = words.length
  return [tensor(dtype, [n, n], (i) => words[Math.floor(i / n)]!), tensor(dtype, [n, n], (i) => words[i % n]!)]
}

/** Shapes that trip index arithmetic: every rank, axes of 1, sizes that no vector width divides. */
const SHAPES: readonly Shape[] = [[], [1], [7], [1, 1], [3, 5], [2, 3, 4], [1, 4, 1], [2, 1, 3, 2], [2, 2, 1, 2, 3], [2, 1, 2, 2, 1, 3]]
const DTYPES = ['f32', 'i32', 'u8'] as const

function leaves(s: Suite): void {
  for (const shape of SHAPES) for (const dtype of ['f32', 'i32'] as const) s.add(`${dtype}[${shape}]`, 'input', [], [0], s.of(dtype, shape))
  for (const bits of [0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x7f7fffff])
    s.add(`f32 ${bits.toString(16)}`, 'const', [], [bits], { dtype: 'f32', shape: [] })
  for (const bits of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff])
    s.add(`i32 ${bits.toString(16)}`, 'const', [], [bits], { dtype: 'i32', shape: [] })
  for (const shape of SHAPES)
    for (let axis = 0; axis < shape.length; axis++) s.add(`[${shape}] axis ${axis}`, 'iota', [], [axis], { dtype: 'i32', shape })
}

function elementwise(s: Suite): void {
  for (const op of ['neg', 'abs', 'sqrt', 'floor'] as const) {
    s.add('edges', op, [tensor('f32', [floatEdges.length], (i) => floatEdges[i]!)])
    s.add('random', op, [s.f32([9, 21], floatWord)])
  }
  s.add('edges', 'not', [tensor('i32', [INTS.length], (i) => INTS[i]!)])
  s.add('random', 'not', [s.i32([5, 13])])
  const floats = tensor('f32', [floatEdges.length], (i) => floatEdges[i]!)
  const ints = tensor('i32', [INTS.length], (i) => INTS[i]!)
  s.add('edges f32', 'bitcast', [floats], [])
  s.add('edges i32', 'bitcast', [tensor('i32', [floatEdges.length], (i) => floatEdges[i]!)])
  s.add('edges f32 to i32', 'cast', [floats], [], { dtype: 'i32' })
  s.add('random f32 to i32', 'cast', [s.f32([150], floatWord)], [], { dtype: 'i32' })
  s.add('edges i32 to f32', 'cast', [ints], [], { dtype: 'f32' })
  s.add('random i32 to f32', 'cast', [s.i32([150])], [], { dtype: 'f32' })
  s.add('every u8 to f32', 'cast', [tensor('u8', [256], (i) => i)], [], { dtype: 'f32' })
  s.add('every u8 to i32', 'cast', [tensor('u8', [256], (i) => i)], [], { dtype: 'i32' })
  for (const op of ['add', 'sub', 'mul', 'div', 'min', 'max', 'lt', 'le', 'eq'] as const) {
    s.add('f32 pairs of edges', op, allPairs('f32', FLOATS))
    s.add('f32 random', op, [s.f32([11, 13], floatWord), s.f32([11, 13], floatWord)])
    s.add('f32 ordinary', op, [s.f32([7, 9]), s.f32([7, 9])])
  }
  for (const op of [...(['add', 'sub', 'mul', 'lt', 'eq', 'divu', 'remu', 'and', 'or', 'xor', 'shl', 'shr', 'sar', 'ltu'] as const)]) {
    s.add('i32 pairs of edges', op, allPairs('i32', INTS.slice(0, 24)))
    s.add('i32 random', op, [s.i32([7, 13]), s.i32([7, 13])])
    s.add('i32 small right', op, [s.i32([40], (next) => next()), s.i32([40], (next) => next() % 67)])
  }
  const conditions = tensor('i32', [60], (i) => [0, 1, 0xffffffff, 0x80000000, 2, 0][i % 6]!)
  for (const dtype of ['f32', 'i32'] as const) s.add(dtype, 'where', [conditions, s.of(dtype, [60]), s.of(dtype, [60])])
  s.add('picks NaN and zeros by bits', 'where', [
    tensor('i32', [8], (i) => i & 1),
    tensor('f32', [8], () => 0x7fc00000),
    tensor('f32', [8], () => 0x80000000),
  ])
  for (const shape of SHAPES) {
    s.add(`[${shape}]`, 'neg', [s.f32(shape)])
    s.add(`[${shape}]`, 'add', [s.f32(shape), s.f32(shape)])
    s.add(`[${shape}]`, 'where', [s.i32(shape, (next) => next() & 1), s.i32(shape), s.i32(shape)])
  }
}

function movement(s: Suite): void {
  for (const dtype of DTYPES) {
    const moves = (from: Shape, op: OpName, attrs: readonly number[], shape?: Shape): void =>
      s.add(`${dtype}[${from}] ${attrs}${shape ? ` to [${shape}]` : ''}`, op, [s.of(dtype, from)], attrs, shape ? { shape } : {})
    for (const [from, to] of [
      [[], [1]],
      [[1], []],
      [[6], [2, 3]],
      [
        [2, 3, 4],
        [4, 6],
      ],
      [[24], [2, 1, 2, 1, 2, 3]],
    ] as const)
      moves(from, 'reshape', [], to)
    for (const [from, perm] of [
      ...([
        [[], []],
        [[5], [0]],
        [
          [3, 5],
          [1, 0],
        ],
        [
          [2, 3, 4],
          [2, 0, 1],
        ],
        [
          [2, 3, 4],
          [1, 2, 0],
        ],
        [
          [2, 1, 3, 2],
          [3, 1, 0, 2],
        ],
      ] as const),
      ...([
        [
          [2, 2, 1, 2, 3],
          [4, 3, 2, 1, 0],
        ],
        [
          [2, 1, 2, 2, 1, 3],
          [5, 0, 3, 4, 1, 2],
        ],
        [
          [17, 19],
          [1, 0],
        ],
      ] as const),
    ] as const)
      moves(from, 'permute', perm)
    for (const [from, to] of [
      [[], []],
      [[1], [5]],
      [
        [3, 1],
        [3, 4],
      ],
      [
        [1, 3],
        [4, 3],
      ],
      [
        [1, 2, 1, 3],
        [4, 2, 2, 3],
      ],
      [
        [1, 1, 1, 1, 1, 1],
        [2, 1, 2, 2, 1, 3],
      ],
    ] as const)
      moves(from, 'expand', [], to)
    for (const [from, attrs, to] of [
      ...([
        [[], [], []],
        [[7], [0, 1], [7]],
        [[7], [6, -1], [7]],
        [[7], [1, 2], [3]],
        [[7], [5, -2], [3]],
        [[7], [3, 5], [1]],
      ] as const),
      ...([
        [
          [4, 5],
          [3, 0, -1, 3],
          [4, 2],
        ],
        [
          [4, 5],
          [1, 4, 2, -4],
          [2, 2],
        ],
        [
          [2, 3, 4],
          [1, 0, 3, -1, 2, -3],
          [2, 2, 2],
        ],
      ] as const),
      ...([
        [
          [2, 1, 2, 2, 1, 3],
          [1, 0, 0, 1, 0, 2, -1, 1, 1, -1, -7, -2],
          [2, 1, 2, 2, 1, 2],
        ],
        [[40], [39, -3], [13]],
      ] as const),
    ] as const)
      moves(from, 'slice', attrs, to)
    const fill = dtype === 'u8' ? 77 : dtype === 'f32' ? 0x80000000 : 0xfffffff9
    for (const [from, attrs] of [
      ...([
        [[], []],
        [[3], [0, 0, 0]],
        [[3], [2, 1, 0]],
        [[3], [0, 0, 2]],
        [[1], [1, 3, 5]],
        [[3], [1, 2, 1]],
      ] as const),
      ...([
        [
          [2, 3],
          [1, 0, 0, 2, 1, 2],
        ],
        [
          [2, 1, 3],
          [0, 2, 1, 1, 0, 0, 2, 3, 1],
        ],
      ] as const),
      ...([
        [
          [1, 2, 1, 2, 1, 2],
          [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2],
        ],
      ] as const),
    ] as const)
      moves(from, 'pad', [...attrs, fill])
    for (const [shapes, axis] of [
      ...([
        [[[3]], 0],
        [[[3], [1], [2]], 0],
        [
          [
            [2, 3],
            [1, 3],
          ],
          0,
        ],
        [
          [
            [2, 3],
            [2, 1],
            [2, 2],
          ],
          1,
        ],
      ] as const),
      ...([
        [
          [
            [2, 1, 2],
            [2, 3, 2],
          ],
          1,
        ],
        [
          [
            [1, 2, 1, 1, 2, 2],
            [1, 2, 1, 1, 2, 1],
          ],
          5,
        ],
        [Array.from({ length: 16 }, (_, k) => [2, 1 + (k % 3)]), 1],
      ] as const),
    ] as const)
      s.add(
        `${dtype} ${shapes.map((shape) => `[${shape}]`).join('+')} axis ${axis}`,
        'concat',
        shapes.map((shape) => s.of(dtype, shape)),
        [axis],
      )
    for (const [from, attrs] of [
      ...([
        [[5], [0, 1, 1, 1]],
        [[5], [0, 5, 1, 1]],
        [[9], [0, 3, 2, 1]],
        [[9], [0, 3, 1, 3]],
        [[9], [0, 2, 4, 3]],
        [[10], [0, 3, 4, 1]],
      ] as const),
      ...([
        [
          [2, 6],
          [1, 2, 2, 2],
        ],
        [
          [6, 2],
          [0, 3, 1, 2],
        ],
        [
          [2, 7, 3],
          [1, 3, 2, 1],
        ],
        [
          [1, 2, 5, 2, 1],
          [2, 2, 1, 3],
        ],
      ] as const),
    ] as const)
      moves(from, 'window', attrs)
  }
  s.add('f32 fill NaN', 'pad', [s.f32([2, 2])], [1, 0, 0, 1, 1, 0, 0x7fc00000])
}

function indexed(s: Suite): void {
  const wild =
    (rows: number): Draw =>
    (next) =>
      [next() % rows, next() % rows, next() % rows, rows, 0xffffffff, 0x80000000, 0x7fffffff][next() % 7]!
  for (const [rows, rest, n] of [
    [1, [], 1],
    [1, [], 4],
    [5, [], 9],
    [4, [3], 7],
    [6, [1], 1],
    [3, [2, 2], 8],
    [2, [1, 2, 1, 2, 1], 5],
    [300, [2], 12],
  ] as const) {
    for (const dtype of DTYPES)
      s.add(`${dtype} ${n} of [${[rows, ...rest]}], clamped`, 'gather', [s.of(dtype, [rows, ...rest]), s.i32([n], wild(rows))])
    s.add(`${n} into [${[rows, ...rest]}], clamped, repeated`, 'scatterAdd', [s.f32([n, ...rest]), s.i32([n], wild(rows))], [], {
      shape: [rows, ...rest],
    })
    s.add(`${n} edges into [${[rows, ...rest]}]`, 'scatterAdd', [s.f32([n, ...rest], floatWord), s.i32([n], wild(rows))], [], {
      shape: [rows, ...rest],
    })
  }
  const minusZeros = tensor('f32', [3, 2], () => 0x80000000)
  s.add('minus zeros give +0', 'scatterAdd', [minusZeros, tensor('i32', [3], () => 1)], [], { shape: [3, 2] })
  s.add('one row takes all', 'scatterAdd', [s.f32([40, 3]), tensor('i32', [40], () => 2)], [], { shape: [4, 3] })
}

function folds(s: Suite): void {
  for (const shape of [...SHAPES.slice(1), [300], [3, 70], [70, 3]])
    for (let axis = 0; axis < shape.length; axis++) {
      s.add(`f32[${shape}] axis ${axis}`, 'sum', [s.f32(shape)], [axis])
      s.add(`i32[${shape}] axis ${axis}`, 'sum', [s.i32(shape)], [axis])
      s.add(`[${shape}] axis ${axis}`, 'maxOver', [s.f32(shape, floatWord)], [axis])
      s.add(`[${shape}] axis ${axis}`, 'argmax', [s.f32(shape, floatWord)], [axis])
    }
  // Rows of few words: ties, both zeros, NaN first, in the middle and last, infinities of both signs, overflow on the way.
  const few = [0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x80000001, 0x7f7fffff, 0x33800000]
  for (const op of ['sum', 'maxOver', 'argmax'] as const)
    for (const [shape, axis] of [
      [[40, 4], 1],
      [[4, 40], 0],
      [[9, 11], 1],
    ] as const)
      s.add(`edges [${shape}] axis ${axis}`, op, [tensor('f32', shape, () => few[s.next() % few.length]!)], [axis])
  s.add('wraps', 'sum', [tensor('i32', [3, 4], (i) => (i % 2 ? 0x7fffffff : 0x40000000))], [1])
  s.add('order matters', 'sum', [tensor('f32', [4], (i) => [0x4b800000, 0x3f800000, 0x3f800000, 0x3f800000][i]!)], [0])
  for (const [a, b] of [
    ...([
      [
        [1, 1],
        [1, 1],
      ],
      [
        [1, 7],
        [7, 1],
      ],
      [
        [3, 1],
        [1, 4],
      ],
      [
        [3, 5],
        [5, 4],
      ],
      [
        [1, 300],
        [300, 2],
      ],
      [
        [4, 33],
        [33, 1],
      ],
      [
        [17, 9],
        [9, 18],
      ],
    ] as const),
    ...([
      [
        [2, 3, 4],
        [2, 4, 5],
      ],
      [
        [2, 1, 2, 3],
        [2, 1, 3, 2],
      ],
      [
        [2, 1, 2, 2, 3],
        [2, 1, 2, 3, 2],
      ],
      [
        [1, 2, 1, 2, 2, 3],
        [1, 2, 1, 2, 3, 2],
      ],
      [
        [35, 40],
        [40, 37],
      ],
    ] as const),
  ] as const) {
    s.add(`[${a}] x [${b}]`, 'dot', [s.f32(a), s.f32(b)])
    if (sizeOf(a) < 400) s.add(`wild [${a}] x [${b}]`, 'dot', [s.f32(a, floatWord), s.f32(b, floatWord)])
  }
  s.add('edges', 'dot', [
    tensor('f32', [12, 3], () => few[s.next() % few.length]!),
    tensor('f32', [3, 12], () => few[s.next() % few.length]!),
  ])
  // 1 + 2^-12 squared needs 25 bits: a fused multiply-add keeps them and differs.
  s.add('fusing shows', 'dot', [
    tensor('f32', [1, 2], (i) => [0x3f800800, 0xbf801000][i]!),
    tensor('f32', [2, 1], (i) => [0x3f800800, 0x3f800000][i]!),
  ])
}

/** The text of vectors/ops.json; the same on every machine. */
export const opsFile = (): string => {
  const suite = new Suite(0x0b5)
  for (const write of [leaves, elementwise, movement, indexed, folds]) write(suite)
  return `{"cases":[\n${suite.cases.map((c) => JSON.stringify(c)).join(',\n')}\n]}\n`
}

if (import.meta.main) {
  const path = new URL('../vectors/ops.json', import.meta.url)
  const file = opsFile()
  if (!process.argv.includes('--check')) writeFileSync(path, file)
  else if (readFileSync(path, 'utf8') !== file) {
    console.error('vectors/ops.json differs from what the interpreter gives; if the change is meant: node tools/vectors-ops.ts')
    process.exitCode = 1
  }
  console.error(`vectors/ops.json: ${file.split('\n').length - 3} cases, ${file.length} bytes`)
}
