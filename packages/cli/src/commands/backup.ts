// `bitloom backup`: keys and state in one file, also while the node runs. `bitloom restore` brings them into another home.

import { existsSync, mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { keyAddress, makeBackup, restoreBackup } from '@bitloom/node'
import { type Call, type Command, UsageError } from '../command.ts'
import { HOME_OPTION, homeOf, keyPath } from '../home.ts'
import { count, print, printJson } from '../output.ts'
import { big } from '../render.ts'

export const command: Command = {
  name: 'backup',
  summary: 'keys and state in one file, also while the node runs',
  usage: '--out FILE [--without-blobs]',
  options: {
    ...HOME_OPTION,
    out: { type: 'string', value: 'FILE', help: 'the file to write; one that is there is left alone' },
    'without-blobs': { type: 'boolean', help: 'leave out tensors: they are fetched or trained again' },
    json: { type: 'boolean', help: 'one JSON line' },
  },
  run: async (call) => {
    const out = call.text('out')
    if (out === undefined || call.args.length > 0) throw new UsageError('Say where to: bitloom backup --out FILE')
    const home = homeOf(call.text('home'))
    const made = makeBackup(home, resolve(out), { blobs: !call.flag('without-blobs') })
    if (call.flag('json')) printJson({ file: resolve(out), home, ...made })
    else
      print(
        `${resolve(out)}: ${count(made.files, 'file')}, ${big(made.bytes, 'B')}, ${count(made.blobs, 'blob file')}.\nThe key in it is still encrypted: keep its password elsewhere. Make a new backup often: an old one may lack what a dispute needs.`,
      )
    return undefined
  },
}

export const restore: Command = {
  name: 'restore',
  summary: 'bring a backup into an empty home',
  usage: 'FILE --home DIR',
  options: { ...HOME_OPTION, json: { type: 'boolean', help: 'one JSON line' } },
  run: async (call) => {
    const file = fileOf(call)
    const home = homeOf(call.text('home'))
    mkdirSync(home, { recursive: true, mode: 0o700 })
    const restored = restoreBackup(resolve(file), home)
    const address = existsSync(keyPath(home)) ? keyAddress(keyPath(home)) : undefined
    if (call.flag('json')) printJson({ file: resolve(file), home, address, ...restored })
    else
      print(
        `${home}: ${count(restored.files, 'file')}, ${big(restored.bytes, 'B')}${address ? `, key of ${address}` : ''}.\nStop the node that the backup was made of before you start this one: two with one key contradict each other, and lose their bond.`,
      )
    return undefined
  },
}

function fileOf(call: Call): string {
  const [file, ...more] = call.args
  if (file === undefined || more.length > 0) throw new UsageError('Say which file: bitloom restore FILE --home DIR')
  return file
}
