// The loss curve of a run, for people: as csv, as an SVG that needs nothing else, and as dots in a terminal.

export type CurveOptions = {
  /** Training step of the first value; default 1. */
  readonly firstStep?: number
  /** What the values are; default 'loss'. */
  readonly name?: string
}

export type SvgOptions = CurveOptions & {
  readonly title?: string
  /** Pixels; default 720 x 360. */
  readonly width?: number
  readonly height?: number
  /** Weight of the past in the smoothed line, 0 (none) … below 1; default 0.8 from 50 values on. */
  readonly smoothing?: number
}

/** Two columns, `step` and the values' name; numbers are written so that they read back exactly. */
export function curveCsv(values: ArrayLike<number>, { firstStep = 1, name = 'loss' }: CurveOptions = {}): string {
  const rows = Array.from(values, (v, i) => `${firstStep + i},${v}`)
  return `${[`step,${name}`, ...rows].join('\n')}\n`
}

/**
 * Exponential moving average that starts unbiased: value i weighs `weight`^(age), normalised by the weights so far. What is not finite is skipped.
 * @param weight of the past, 0 … below 1
 */
export function smooth(values: ArrayLike<number>, weight: number): number[] {
  if (!(weight >= 0 && weight < 1)) throw new RangeError(`smooth: weight ${weight} is not in 0..1`)
  let [sum, weights] = [0, 0]
  return Array.from(values, (v) => {
    if (!Number.isFinite(v)) return Number.NaN
    sum = sum * weight + v
    weights = weights * weight + 1
    return sum / weights
  })
}

/** Round numbers (1, 2 or 5 times a power of ten apart) that lie in low … high, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low]
  const raw = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10)
  const out: number[] = []
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) out.push(Number((k * step).toPrecision(12)))
  return out
}

/** A self-contained SVG: the values, their smoothed line, axes with ticks and a title; it follows the reader's dark or light setting. */
export function curveSvg(values: ArrayLike<number>, options: SvgOptions = {}): string {
  const { firstStep = 1, name = 'loss', title = 'Training loss', width = 720, height = 360 } = options
  const all = Array.from(values)
  const smoothed = smooth(all, options.smoothing ?? (all.length >= 50 ? 0.8 : 0))
  const [low, high] = rangeOf(all)
  const [left, right, top, bottom] = [64, width - 20, 48, height - 44]
  const x = (i: number) => left + ((right - left) * i) / Math.max(all.length - 1, 1)
  const y = (v: number) => bottom - ((bottom - top) * (v - low)) / (high - low)
  const last = firstStep + Math.max(all.length - 1, 1)
  const across = ticks(firstStep, last, 8).filter(Number.isInteger)
  const up = ticks(low, high, 6)
  const grid = [
    ...up.map((v) => `<line class="grid" x1="${left}" x2="${right}" y1="${px(y(v))}" y2="${px(y(v))}"/>`),
    ...up.map((v) => `<text x="${left - 8}" y="${px(y(v) + 4)}" text-anchor="end">${v}</text>`),
    ...across.map(
      (s) => `<line class="axis" x1="${px(x(s - firstStep))}" x2="${px(x(s - firstStep))}" y1="${bottom}" y2="${bottom + 5}"/>`,
    ),
    ...across.map((s) => `<text x="${px(x(s - firstStep))}" y="${bottom + 19}" text-anchor="middle">${s}</text>`),
  ]
  const final = smoothed.findLast(Number.isFinite)
  const summary =
    final === undefined
      ? 'no finite value'
      : `${all.length} steps, last ${name} ${short(final)}${smoothed.at(-1) === all.at(-1) ? '' : ' (smoothed)'}`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(`${title}: ${summary}`)}">
<style>
svg { color: #1c2024; font: 12px system-ui, sans-serif } .page { fill: #fff }
text { fill: currentColor } .title { font-size: 16px; font-weight: 600 } .quiet { opacity: .65 }
.axis { stroke: currentColor; opacity: .5 } .grid { stroke: currentColor; opacity: .12 }
.raw, .line { fill: none; stroke: #0b68cb; stroke-linejoin: round } .raw { stroke-opacity: .3 } .line { stroke-width: 2 }
@media (prefers-color-scheme: dark) { svg { color: #e6e8ea } .page { fill: #14171a } .raw, .line { stroke: #6cb6ff } }
</style>
<rect class="page" width="${width}" height="${height}"/>
<text class="title" x="${left}" y="22">${escapeXml(title)}</text>
<text class="quiet" x="${left}" y="39">${escapeXml(summary)}</text>
${grid.join('\n')}
<path class="axis" fill="none" d="M${left} ${top}V${bottom}H${right}"/>
<text class="quiet" x="${(left + right) / 2}" y="${height - 8}" text-anchor="middle">step</text>
<text class="quiet" transform="translate(14 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(name)}</text>
<path class="raw" d="${pathOf(all, x, y)}"/>
<path class="line" d="${pathOf(smoothed, x, y)}"/>
</svg>
`
}

/** A path through the finite values; above 2,000 values each group keeps its smallest and largest, so that no spike is lost. */
function pathOf(values: readonly number[], x: (i: number) => number, y: (v: number) => number): string {
  const group = Math.ceil(values.length / 1000)
  const keep: number[] = []
  if (values.length <= 2000) values.forEach((_, i) => void keep.push(i))
  else
    for (let begin = 0; begin < values.length; begin += group) {
      let [least, most, broken] = [begin, begin, -1]
      for (let i = begin; i < Math.min(begin + group, values.length); i++) {
        if (!Number.isFinite(values[i])) broken = i
        else {
          if (!(values[i]! >= values[least]!)) least = i
          if (!(values[i]! <= values[most]!)) most = i
        }
      }
      keep.push(...new Set([least, most, ...(broken < 0 ? [] : [broken])].sort((a, b) => a - b)))
    }
  let pen = 'M'
  let d = ''
  for (const i of keep) {
    if (!Number.isFinite(values[i])) {
      pen = 'M'
      continue
    }
    d += `${pen}${px(x(i))} ${px(y(values[i]!))}`
    pen = 'L'
  }
  return d
}

/**
 * The values as a line of braille dots with its range at the left: `height` lines of at most `width` characters, without colour or a final line break.
 * @param width characters in all, at least 16; default 60
 * @param height lines, at least 2; default 8
 */
export function plotTerminal(
  values: ArrayLike<number>,
  { width = 60, height = 8 }: { readonly width?: number; readonly height?: number } = {},
): string {
  const all = Array.from(values)
  const rows = Math.max(2, Math.floor(height))
  const [low, high] = rangeOf(all)
  const labels = [short(high), short(low)]
  const gutter = Math.max(...labels.map((l) => l.length))
  const columns = Math.max(4, Math.floor(Math.max(width, 16)) - gutter - 2)
  const [dotsAcross, dotsUp] = [2 * columns, 4 * rows]
  const cells = new Uint8Array(columns * rows)
  const light = (x: number, y: number) => {
    const [row, column] = [y >> 2, x >> 1]
    cells[row * columns + column]! |= BRAILLE[y & 3]![x & 1]!
  }
  const yOf = (v: number) => Math.round(((high - v) / (high - low)) * (dotsUp - 1))
  // Where there are more values than dots a dot column shows all it covers, from smallest to largest; where there are fewer, each value spans several columns.
  let before: number | undefined
  for (let x = 0; x < dotsAcross && all.length > 0; x++) {
    const begin = Math.floor((x * all.length) / dotsAcross)
    const covered = all.slice(begin, Math.max(begin + 1, Math.floor(((x + 1) * all.length) / dotsAcross))).filter(Number.isFinite)
    if (covered.length === 0) {
      before = undefined
      continue
    }
    const first = yOf(covered[0]!)
    const reach = [...covered.map(yOf), before ?? first]
    const [top, bottom] = reach.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)] as [number, number], [first, first] as [
      number,
      number,
    ])
    for (let y = top; y <= bottom; y++) light(x, y)
    before = yOf(covered.at(-1)!)
  }
  return Array.from({ length: rows }, (_, row) => {
    const label = row === 0 ? labels[0]! : row === rows - 1 ? labels[1]! : ''
    const dots = Array.from(cells.subarray(row * columns, (row + 1) * columns), (bits) => String.fromCharCode(0x2800 + bits)).join('')
    return `${label.padStart(gutter)} ${row === 0 || row === rows - 1 ? '┤' : '│'}${dots}`
  }).join('\n')
}

/** The last `width` groups of the values as one line of blocks; a group without a finite value is a space. */
export function sparkline(values: ArrayLike<number>, width = 24): string {
  const all = Array.from(values)
  const [low, high] = rangeOf(all)
  const n = Math.min(width, all.length)
  return Array.from({ length: n }, (_, i) => {
    const group = all.slice(Math.floor((i * all.length) / n), Math.floor(((i + 1) * all.length) / n)).filter(Number.isFinite)
    if (group.length === 0) return ' '
    const mean = group.reduce((a, b) => a + b, 0) / group.length
    return '▁▂▃▄▅▆▇█'[Math.min(7, Math.floor((8 * (mean - low)) / (high - low)))]!
  }).join('')
}

/** Unicode's order of the eight dots of a cell: BRAILLE[row][column]. */
const BRAILLE: readonly (readonly number[])[] = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
]

/** Smallest and largest finite value, never equal; 0 and 1 where there is none. */
function rangeOf(values: readonly number[]): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const v of values) {
    if (!Number.isFinite(v)) continue
    low = Math.min(low, v)
    high = Math.max(high, v)
  }
  if (low > high) return [0, 1]
  if (low < high) return [low, high]
  const around = Math.abs(low) / 2 || 1
  return [low - around, high + around]
}

const px = (v: number): string => String(Number(v.toFixed(2)))
const short = (v: number): string => (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(2) : v.toPrecision(4))
/** Text for XML: what has a meaning there is escaped, what is not allowed there becomes a space. */
const escapeXml = (text: string): string =>
  Array.from(text.toWellFormed(), (c) => (c < ' ' ? ' ' : /[&<>"']/.test(c) ? `&#${c.charCodeAt(0)};` : c)).join('')
