// Drawing in a terminal: colours where there are any, tables, a progress bar that redraws itself, numbers as people read them.

const colour = (process.stderr.isTTY === true || process.env.FORCE_COLOR !== undefined) && process.env.NO_COLOR === undefined
const paint =
  (code: number) =>
  (text: string): string =>
    colour ? `\x1b[${code}m${text}\x1b[0m` : text

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)
export const cyan = paint(36)

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is being stripped
const visible = (text: string): number => text.replace(/\x1b\[[0-9;]*m/g, '').length
const padTo = (text: string, width: number, right: boolean): string =>
  right ? ' '.repeat(Math.max(0, width - visible(text))) + text : text + ' '.repeat(Math.max(0, width - visible(text)))

/** Rows under headers; columns whose header starts with '>' are aligned right. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const right = headers.map((h) => h.startsWith('>'))
  const names = headers.map((h) => h.replace(/^>/, ''))
  const widths = names.map((name, i) => Math.max(name.length, ...rows.map((r) => visible(r[i] ?? ''))))
  const line = (cells: readonly string[]): string => `  ${cells.map((c, i) => padTo(c, widths[i]!, right[i]!)).join('  ')}`.trimEnd()
  return [dim(line(names)), ...rows.map(line)].join('\n')
}

const UNITS = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const

/** 1234567 -> "1.23 M". */
export function big(x: number | bigint, unit = ''): string {
  const n = Number(x)
  for (const [size, letter] of UNITS) if (Math.abs(n) >= size) return `${(n / size).toPrecision(3)} ${letter}${unit}`
  return `${Number.isInteger(n) ? n : n.toPrecision(3)}${unit ? ` ${unit}` : ''}`
}

export const percent = (x: number, digits = 1): string => `${(100 * x).toFixed(digits)} %`
export const short = (hex: string): string => (hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex)
export const seconds = (ms: number): string =>
  ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : ms < 120_000 ? `${(ms / 1000).toFixed(0)} s` : `${(ms / 60_000).toFixed(1)} min`

/** Token wei (18 decimals) as a decimal amount with four significant digits: "0.0421 BLT". */
export function money(amount: bigint | string): string {
  const wei = BigInt(amount)
  const x = Number(wei) / 1e18
  return `${x === 0 ? '0' : Math.abs(x) >= 1000 ? x.toFixed(0) : x.toPrecision(4).replace(/\.?0+$/, '')} BLT`
}

/** The f32 of a word, and its bits: `0.4121094 (0x3ed30000)`. */
export function wordAsF32(word: number): string {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, word)
  return `${view.getFloat32(0).toPrecision(9)} (0x${word.toString(16).padStart(8, '0')})`
}

/** A status line at the bottom of the terminal, under lines that scroll; without a terminal it only prints the lines. */
export type Screen = { readonly line: (text: string) => void; readonly status: (text: string) => void; readonly done: () => void }

export function openScreen(out: NodeJS.WriteStream = process.stderr): Screen {
  let current = ''
  const tty = out.isTTY === true
  const clear = (): void => {
    if (tty && current !== '') out.write('\r\x1b[2K')
  }
  return {
    line: (text) => {
      clear()
      out.write(`${text}\n`)
      if (tty && current !== '') out.write(current)
    },
    status: (text) => {
      if (!tty) return
      const width = (out.columns ?? 100) - 1
      clear()
      current = visible(text) > width ? text.slice(0, width) : text
      out.write(current)
    },
    done: () => {
      clear()
      current = ''
    },
  }
}

/** `[██████░░░░]` of `width` cells, in eighths. */
export function bar(fraction: number, width = 24): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * width * 8)
  const full = Math.floor(eighths / 8)
  const part = eighths % 8 > 0 ? ' ▏▎▍▌▋▊▉'[eighths % 8] : ''
  return `${cyan('█'.repeat(full) + part)}${dim('░'.repeat(Math.max(0, width - full - (part ? 1 : 0))))}`
}
