// A nest as C over vectors of W lanes: outer loops, then lanes over different outputs; a fold runs inside, strictly in order. What an op is lies in c/vector.h.
// Bits cannot depend on any choice made here: lanes never mix, and each accumulator takes its terms in ascending order.
import { type Dtype, OPS, type OpName } from '@bitloom/graph'
import type { Access, Nest, Node } from '../kernel.ts'
import { type Loops, loopsOf } from '../nest.ts'

/** One nest as a C function's body (with `@` for its name), and what it wants to be called with. */
export interface NestCode {
  /** Equal texts are one function: addresses are arguments, sizes are not. */
  readonly text: string
  /** Buffers, element offsets and element sizes of the pointers it takes, in order. */
  readonly pointers: readonly { readonly buffer: number; readonly offset: number; readonly bytes: number }[]
  /** Into how many units the work may be cut; any two may run at the same time. */
  readonly units: number
  /** About how many nanoseconds it takes on one thread: decides only whether to share it. */
  readonly cost: number
}

/** `v`: W lanes. `s`: one. */
type Family = 'v' | 's'
/** What a value is in C: a float, an int32, or a mask (all ones or zero) that stands for 1 or 0. */
type Kind = 'f' | 'i' | 'm'

const C_TYPE = { vf: 'vf', vi: 'vi', vm: 'vi', sf: 'float', si: 'int32_t', sm: 'int32_t' } as const
const POINTER: Record<Dtype, string> = { f32: 'float', i32: 'int32_t', u8: 'uint8_t' }
const SUFFIX: Record<Dtype, string> = { f32: '', i32: 'i', u8: 'b' }
/** Elements of a lanes' axis that make one unit of work. */
const BLOCK = 512

/** Operations that one vector needs, and elements, from which on several vectors are computed side by side. */
const LONG_CHAIN = 12
const MANY = 8192

const kindOf = (dtype: Dtype): Kind => (dtype === 'f32' ? 'f' : 'i')
const literal = (bits: number): string => `(int32_t)0x${(bits >>> 0).toString(16)}`

/** C for `nest` with `width` lanes a vector. Vectors of long chains run side by side where there are `many` elements. */
export const emitNest = (nest: Nest, width: number, many = MANY): NestCode => new NestWriter(nest, width, many).write()

/** Where a value is needed: which family, which of the interleaved vectors, and where transposed tiles are kept. */
interface Place {
  readonly family: Family
  readonly copy: number
  /** Loads that were transposed into an array, and the C expression of the row in it. */
  readonly tiles?: { readonly loads: ReadonlySet<number>; readonly row: string }
}

class NestWriter {
  readonly nest: Nest
  readonly width: number
  readonly many: number
  readonly loops: Loops
  readonly levels: number[] = []
  readonly kinds: Kind[] = []
  readonly lines: string[] = []
  readonly #pointers = new Map<string, number>()
  readonly #used: { buffer: number; offset: number; bytes: number; type: string }[] = []

  constructor(nest: Nest, width: number, many: number) {
    this.nest = nest
    this.width = width
    this.many = many
    this.loops = loopsOf(nest)
    for (const node of this.loops.nodes) {
      this.levels.push(this.#levelOf(node))
      this.kinds.push(this.#kindOf(node))
    }
  }

  /** Levels: 0 once, j + 1 inside outer loop j, then lanes, then the fold. */
  get lanesLevel(): number {
    return this.loops.outer.length + 1
  }

  write(): NestCode {
    const { outer, lanes } = this.loops
    const rows = this.#rowAxis()
    const cut = this.#cutAxis(rows)
    this.#evaluate(0, { family: 's', copy: 0 })
    this.#loop(0, cut, rows, () => {
      if (rows < 0 && cut >= 0) this.#lanes('0', `${lanes}`)
      else if (cut >= 0) this.#tiles(rows, '0', `${outer[rows]}`)
      else {
        // The units are blocks of rows, or of lanes.
        const [size, block] = rows < 0 ? [lanes, this.#block()] : [outer[rows], this.width]
        this.lines.push(`const long first = from * ${block}, end = to * ${block} < ${size} ? to * ${block} : ${size};`)
        if (rows < 0) this.#lanes('first', 'end')
        else this.#tiles(rows, 'first', 'end')
      }
    })
    const head = this.#used.map(({ type }, at) => `  ${type} *const p${at} = args[${at}];`)
    const text = [
      'void @(void *const *args, long from, long to, int worker) {',
      '  (void)args, (void)from, (void)to, (void)worker;',
      ...head,
      ...this.lines.map((line) => `  ${line}`),
      '}',
    ].join('\n')
    const units = cut >= 0 ? outer[cut] : rows >= 0 ? Math.ceil(outer[rows] / this.width) : Math.ceil(lanes / this.#block())
    return { text, pointers: this.#used, units, cost: this.#cost() }
  }

  /** Lanes that make one unit. */
  #block(): number {
    return this.nest.fold === undefined ? BLOCK : 4 * this.width
  }

  /** The outer axis that is cut into units: the longest, if it gives enough of them; else -1: rows or lanes are cut. */
  #cutAxis(rows: number): number {
    const { outer, lanes } = this.loops
    let cut = -1
    outer.forEach((size, axis) => {
      if (axis !== rows && (cut < 0 || size > outer[cut])) cut = axis
    })
    if (cut < 0) return -1
    const others = rows >= 0 ? outer[rows] / this.width : lanes / this.#block()
    return outer[cut] < 16 && others > outer[cut] ? -1 : cut
  }

  #cost(): number {
    const elements = [...this.loops.outer, this.loops.lanes, this.nest.fold?.terms ?? 1].reduce((a, b) => a * b, 1)
    const scalar = this.loops.lanes < this.width ? this.width / 2 : 1
    let cycles = 0.2
    this.loops.nodes.forEach((node) => {
      if (node.kind === 'load') cycles += node.access.strides.at(-1) === 1 ? 0.25 : 0.7
      else if (node.kind === 'op')
        cycles += node.op === 'divu' || node.op === 'remu' ? 6 : node.op === 'div' || node.op === 'sqrt' ? 0.7 : 0.12
    })
    return (elements * cycles * scalar) / 3
  }

  /** Opens the outer loops from `axis` on (but for `skip`, which the tiles run), each with the values that depend on it, then `inside`. */
  #loop(axis: number, cut: number, skip: number, inside: () => void): void {
    const { outer } = this.loops
    if (axis === outer.length) {
      inside()
      return
    }
    if (axis === skip) {
      this.#loop(axis + 1, cut, skip, inside)
      return
    }
    const [first, end] = axis === cut ? ['from', 'to'] : ['0', `${outer[axis]}`]
    this.lines.push(`for (long i${axis} = ${first}; i${axis} < ${end}; i${axis}++) {`)
    if (skip < 0) this.#evaluate(axis + 1, { family: 's', copy: 0 })
    this.#loop(axis + 1, cut, skip, inside)
    this.lines.push('}')
  }

  /** The lanes' axis from `x0` to `x1`: blocks of interleaved vectors, single vectors, single elements. */
  #lanes(x0: string, x1: string): void {
    const { width } = this
    const n = this.loops.lanes
    this.lines.push(`long x = ${x0};`)
    if (n >= width) {
      const copies = this.#copies()
      if (copies > 1 && n >= copies * width) this.#segment(x1, 'v', copies)
      if (copies === 1 || n % (copies * width) >= width || n < copies * width) this.#segment(x1, 'v', 1)
    }
    if (n % width !== 0) this.#segment(x1, 's', 1)
  }

  #segment(x1: string, family: Family, copies: number): void {
    const step = family === 's' ? 1 : copies * this.width
    this.lines.push(step === 1 ? `for (; x < ${x1}; x++) {` : `for (; x + ${step} <= ${x1}; x += ${step}) {`)
    if (this.nest.fold === undefined) {
      const places = Array.from({ length: copies }, (_, copy): Place => ({ family, copy }))
      this.#together(this.lanesLevel, places)
      for (const place of places) this.#stores(place)
    } else this.#fold(family, copies)
    this.lines.push('}')
  }

  /** How many vectors run side by side, so that one's work hides in the others' latency: a processor looks some hundred operations ahead, no further. */
  #copies(): number {
    if (this.nest.fold === undefined) {
      const chain = this.loops.nodes.filter((node, at) => node.kind === 'op' && this.levels[at] === this.lanesLevel).length
      // exp, tanh and gelu: 1.3 times as fast with four as with one, 1.35 with six; small nests are not worth the compiler's time.
      return chain >= LONG_CHAIN && this.loops.outer.reduce((a, b) => a * b, this.loops.lanes) >= this.many ? 4 : 1
    }
    const size = this.loops.nodes.filter((node, at) => node.kind === 'op' && this.levels[at] > this.lanesLevel).length
    if (size > 12) return 1
    return this.#transposed().size > 0 || size > 4 ? 2 : 4
  }

  /** Loads of a fold that run along the fold: rows in different lanes, so tiles are read and transposed. */
  #transposed(): Set<number> {
    const found = new Set<number>()
    this.loops.nodes.forEach((node, at) => {
      if (node.kind !== 'load' || node.access.dtype === 'u8') return
      const [lane, fold] = node.access.strides.slice(-2)
      if (fold === 1 && lane !== 0 && lane !== 1) found.add(at)
    })
    return found
  }

  #fold(family: Family, copies: number): void {
    const { op, dtype, terms } = this.nest.fold!
    const type = (kind: Kind): string => C_TYPE[`${family}${kind}`]
    const kind = kindOf(dtype)
    const each = (line: (copy: number) => string): void => {
      for (let copy = 0; copy < copies; copy++) this.lines.push(line(copy))
    }
    const { stores } = this.loops
    stores.forEach((_, at) => {
      each((c) => `${type(kind)} sum${at}_${c} = ${family}_splat${kind === 'f' ? '' : 'i'}(0);`)
      if (op === 'argmax') each((c) => `${type('i')} best${at}_${c} = ${family}_splati(0);`)
    })
    for (let copy = 0; copy < copies; copy++) this.#evaluate(this.lanesLevel, { family, copy })
    const term = (tiles?: Place['tiles']): void => {
      for (let copy = 0; copy < copies; copy++) {
        const place: Place = tiles === undefined ? { family, copy } : { family, copy, tiles }
        this.#evaluate(this.lanesLevel + 1, place)
        stores.forEach((store, at) => {
          const [sum, best] = [`sum${at}_${copy}`, `best${at}_${copy}`]
          const x = this.#value(store.node, kind, place)
          if (op === 'argmax')
            this.lines.push(
              `${best} = k == 0 ? ${best} : ${family}_whichi(${family}_lt(${sum}, ${x}), ${family}_splati((int32_t)k), ${best});`,
            )
          this.lines.push(op === 'sum' ? `${sum} = ${sum} + ${x};` : `${sum} = k == 0 ? ${x} : ${family}_max(${sum}, ${x});`)
        })
      }
    }
    const tiled = family === 'v' ? this.#transposed() : new Set<number>()
    this.lines.push('long k = 0;')
    if (tiled.size > 0 && terms >= this.width) {
      this.lines.push(`for (long k0 = 0; k0 + ${this.width} <= ${terms}; k0 += ${this.width}) {`)
      for (let copy = 0; copy < copies; copy++) for (const at of tiled) this.#readTile(at, copy, 'k0', this.loops.outer.length + 1)
      const small = this.loops.nodes.length * copies <= 12
      this.lines.push(`_Pragma("GCC unroll ${small ? this.width : 1}") for (int row = 0; row < ${this.width}; row++, k++) {`)
      term({ loads: tiled, row: 'row' })
      this.lines.push('}', '}')
      if (terms % this.width !== 0) this.#terms(terms, term)
    } else this.#terms(terms, term)
    for (let copy = 0; copy < copies; copy++)
      stores.forEach((store, at) => {
        this.#store(store.access, `${op === 'argmax' ? 'best' : 'sum'}${at}_${copy}`, store.canonical, { family, copy })
      })
  }

  #terms(terms: number, term: () => void): void {
    this.lines.push(`for (; k < ${terms}; k++) {`)
    term()
    this.lines.push('}')
  }

  /** Reads W rows (along the lanes) of W elements along the axis of stride 1, whose position `axis` in the strides starts at `start`, and transposes them. */
  #readTile(at: number, copy: number, start: string, axis: number): void {
    const node = this.loops.nodes[at]
    if (node.kind !== 'load') return
    const { access } = node
    const lane = access.strides[this.loops.outer.length]
    const names = this.#names({ family: 'v', copy })
    names[axis] = start
    const base = `${this.#pointer(access)} + ${this.#index(access.strides, names)}`
    const read = access.dtype === 'f32' ? `v_load(${base} + l * ${lane})` : `v_real(v_loadi(${base} + l * ${lane}))`
    this.lines.push(`vf t${at}_${copy}[W];`, `EACH_LANE t${at}_${copy}[l] = ${read};`, `v_transpose(t${at}_${copy});`)
  }

  /** For a nest without a fold: the outer axis along which some load is contiguous while lanes jump, or -1. Tiles of both axes are then transposed in registers. */
  #rowAxis(): number {
    const { outer, lanes, nodes } = this.loops
    if (this.nest.fold !== undefined || lanes < this.width) return -1
    for (let axis = outer.length - 1; axis >= 0; axis--)
      if (outer[axis] >= this.width && nodes.some((node) => node.kind === 'load' && this.#alongRows(node.access, axis))) return axis
    return -1
  }

  #alongRows(access: Access, axis: number): boolean {
    const lane = access.strides[this.loops.outer.length]
    return access.dtype !== 'u8' && access.strides[axis] === 1 && lane !== 0 && lane !== 1
  }

  /** Rows r0 to r1 of the outer axis `axis` by all lanes, in W x W tiles. */
  #tiles(axis: number, r0: string, r1: string): void {
    const { width } = this
    const n = this.loops.lanes
    const loads = new Set<number>()
    this.loops.nodes.forEach((node, at) => {
      if (node.kind === 'load' && this.#alongRows(node.access, axis)) loads.add(at)
    })
    /** Values of this axis and of all inner levels, then the stores. */
    const body = (place: Place): void => {
      for (let level = 1; level <= this.lanesLevel; level++) this.#evaluate(level, place, true)
      this.#stores(place)
    }
    const single = (family: Family, step: number, from: string): void => {
      this.lines.push(`for (long x = ${from}; x + ${step} <= ${n}; x += ${step}) {`)
      body({ family, copy: 0 })
      this.lines.push('}')
    }
    const whole = n - (n % width)
    this.lines.push(`long i${axis} = ${r0};`, `for (; i${axis} + ${width} <= ${r1};) {`, `for (long x = 0; x < ${whole}; x += ${width}) {`)
    this.lines.push(`long row0 = i${axis};`)
    for (const at of loads) this.#readTile(at, 0, 'row0', axis)
    this.lines.push(`_Pragma("GCC unroll ${width}") for (int row = 0; row < ${width}; row++) {`, `long i${axis} = row0 + row;`)
    body({ family: 'v', copy: 0, tiles: { loads, row: 'row' } })
    this.lines.push('}', '}')
    if (n % width !== 0) {
      this.lines.push(`for (int row = 0; row < ${width}; row++, i${axis}++) {`)
      single('s', 1, `${whole}`)
      this.lines.push('}')
    } else this.lines.push(`i${axis} += ${width};`)
    this.lines.push('}')
    this.lines.push(`for (; i${axis} < ${r1}; i${axis}++) {`)
    single('v', width, '0')
    if (n % width !== 0) single('s', 1, `${whole}`)
    this.lines.push('}')
  }

  #stores(place: Place): void {
    for (const store of this.loops.stores)
      this.#store(store.access, this.#value(store.node, kindOf(store.access.dtype), place), store.canonical, place)
  }

  #store(access: Access, value: string, canonical: boolean, place: Place): void {
    const lane = access.strides[this.loops.outer.length]
    const to = `${this.#pointer(access)} + ${this.#index(access.strides, this.#names(place))}`
    const x = canonical && access.dtype === 'f32' ? `${place.family}_canonical(${value})` : value
    const suffix = SUFFIX[access.dtype]
    if (place.family === 's' || lane === 1) this.lines.push(`${place.family}_store${suffix}(${to}, ${x});`)
    else this.lines.push(`v_scatter${suffix}(${to}, ${lane}, ${x});`)
  }

  /** Computes the nodes of one level for several vectors, node by node: neighbours do not wait for each other. */
  #together(level: number, places: readonly Place[]): void {
    this.loops.nodes.forEach((_, at) => {
      for (const place of places) this.#evaluate(level, place, false, at)
    })
  }

  /** Computes the nodes of one level. Values below the lanes are scalars, unless `inner` asks for all in one place (tiles). */
  #evaluate(level: number, place: Place, inner = false, only = -1): void {
    this.loops.nodes.forEach((node, at) => {
      if (this.levels[at] !== level || node.kind === 'const' || (only >= 0 && at !== only)) return
      const here: Place = inner && level < this.lanesLevel ? { ...place, family: 's' } : place
      const kind = this.kinds[at]
      this.lines.push(`const ${C_TYPE[`${here.family}${kind}`]} ${this.#name(at, here)} = ${this.#expression(at, node, here)};`)
    })
  }

  #name(at: number, place: Place): string {
    return this.levels[at] < this.lanesLevel ? `u${at}` : `n${at}_${place.copy}`
  }

  #expression(at: number, node: Node, place: Place): string {
    const { family } = place
    if (node.kind === 'load') {
      if (place.tiles?.loads.has(at)) {
        const tile = `t${at}_${place.copy}[${place.tiles.row}]`
        return node.access.dtype === 'f32' ? tile : `v_bits(${tile})`
      }
      const { access } = node
      const suffix = SUFFIX[access.dtype]
      const from = `${this.#pointer(access)} + ${this.#index(access.strides, this.#names(place))}`
      const lane = access.strides[this.loops.outer.length]
      if (family === 's' || lane === 1) return `${family}_load${suffix}(${from})`
      if (lane === 0) return `v_splat${access.dtype === 'f32' ? '' : 'i'}(s_load${suffix}(${from}))`
      return `v_pick${suffix}(${from}, ${lane})`
    }
    if (node.kind === 'iota') {
      const { offset, strides } = node.view
      return `${family}_ramp((int32_t)(${offset} + ${this.#index(strides, this.#names(place))}), ${strides[this.loops.outer.length]})`
    }
    if (node.kind === 'const') return literal(node.bits)
    return this.#op(node, place)
  }

  #op(node: Extract<Node, { kind: 'op' }>, place: Place): string {
    const { op, from, to, args } = node
    const f = place.family
    const real = from === 'f32'
    const kind = kindOf(from)
    const value = (i: number, as: Kind = kind): string => this.#value(args[i], as, place)
    const masks = args.every((a) => this.kinds[a] === 'm')
    switch (op) {
      case 'neg':
      case 'abs':
      case 'sqrt':
      case 'floor':
        return `${f}_${op}(${value(0)})`
      case 'not':
        return `~${value(0)}`
      case 'cast':
        return real ? `${f}_to(${value(0)})` : to === 'f32' ? `${f}_from(${value(0)})` : value(0)
      case 'bitcast':
        return real ? `${f}_bits(${f}_canonical(${value(0)}))` : `${f}_real(${value(0)})`
      case 'where': {
        const mask = this.kinds[args[0]] === 'm' ? this.#value(args[0], 'm', place) : `${f}_truth(${value(0, 'i')})`
        return `${f}_which${real ? '' : 'i'}(${mask}, ${value(1)}, ${value(2)})`
      }
      case 'add':
        return `${value(0)} + ${value(1)}`
      case 'sub':
        return `${value(0)} - ${value(1)}`
      case 'mul':
        return `${value(0)} * ${value(1)}`
      case 'div':
        return `${value(0)} / ${value(1)}`
      case 'and':
      case 'or':
      case 'xor': {
        const as: Kind = masks ? 'm' : 'i'
        return `${value(0, as)} ${{ and: '&', or: '|', xor: '^' }[op]} ${value(1, as)}`
      }
      case 'min':
      case 'max':
      case 'shl':
      case 'shr':
      case 'sar':
      case 'ltu':
        return `${f}_${op}(${value(0)}, ${value(1)})`
      case 'le':
      case 'lt':
      case 'eq':
        return `${f}_${op}${real ? '' : 'i'}(${value(0)}, ${value(1)})`
      case 'divu':
      case 'remu': {
        const by = this.loops.nodes[args[1]]
        if (by.kind !== 'const' || by.bits === 0) return `${f}_${op}(${value(0)}, ${value(1)})`
        return `${f}_${op === 'divu' ? 'divc' : 'remc'}(${value(0)}, 0x${(by.bits >>> 0).toString(16)}u)`
      }
      default:
        throw new EmitError(`${op} is no scalar op\na new op needs a case here (docs/numerics.md)`)
    }
  }

  /** A node's value as C, in the family and kind that are wanted. */
  #value(at: number, want: Kind, place: Place): string {
    const node = this.loops.nodes[at]
    const f = place.family
    if (node.kind === 'const') {
      const one = want === 'f' ? `s_real(${literal(node.bits)})` : literal(node.bits)
      return f === 's' ? one : `v_splat${want === 'f' ? '' : 'i'}(${one})`
    }
    const kind = this.kinds[at]
    let text = this.#name(at, place)
    if (f === 'v' && this.levels[at] < this.lanesLevel) text = `v_splat${kind === 'f' ? '' : 'i'}(${text})`
    return kind === 'm' && want === 'i' ? `(-${text})` : text
  }

  /** The C names of the coordinates, in the order of strides. */
  #names(place: Place): string[] {
    const names = this.loops.outer.map((_, axis) => `i${axis}`)
    names.push(place.copy === 0 ? 'x' : `(x + ${place.copy * this.width})`)
    if (this.nest.fold !== undefined) names.push('k')
    return names
  }

  #index(strides: readonly number[], names: readonly string[]): string {
    const terms = strides.flatMap((s, axis) => (s === 0 ? [] : s === 1 ? [names[axis]] : [`${names[axis]} * ${s}`]))
    return terms.length === 0 ? '0' : terms.join(' + ')
  }

  #pointer(access: Access): string {
    const key = `${access.buffer}:${access.offset}:${access.dtype}`
    let at = this.#pointers.get(key)
    if (at === undefined) {
      at = this.#used.push({
        buffer: access.buffer,
        offset: access.offset,
        bytes: access.dtype === 'u8' ? 1 : 4,
        type: POINTER[access.dtype],
      })
      at--
      this.#pointers.set(key, at)
    }
    return `p${at}`
  }

  #levelOf(node: Node): number {
    if (node.kind === 'const') return 0
    if (node.kind === 'op') {
      if (OPS[node.op].kind === 'movement') throw new EmitError(`${node.op} is no scalar op`)
      return node.args.reduce((level, a) => Math.max(level, this.levels[a]), 0)
    }
    const strides = node.kind === 'load' ? node.access.strides : node.view.strides
    for (let axis = strides.length - 1; axis >= 0; axis--) if (strides[axis] !== 0) return axis + 1
    return 0
  }

  #kindOf(node: Node): Kind {
    if (node.kind === 'load') return kindOf(node.access.dtype)
    if (node.kind !== 'op') return 'i'
    if (isComparison(node.op)) return 'm'
    const bitwise = node.op === 'and' || node.op === 'or' || node.op === 'xor'
    return bitwise && node.args.every((a) => this.kinds[a] === 'm') ? 'm' : kindOf(node.to)
  }
}

const isComparison = (op: OpName): boolean => op === 'lt' || op === 'le' || op === 'eq' || op === 'ltu'

/** The op table grew and this backend did not. */
export class EmitError extends Error {
  override name = 'engine.EmitError'
}
