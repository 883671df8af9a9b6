// `bitloom doctor`: tries everything that a node or a submitter needs, and says of whatever is wrong what to do.

import { existsSync } from 'node:fs'
import { totalmem } from 'node:os'
import { checkBackend } from '../backend.ts'
import {
  checkAnvil,
  checkEngine,
  checkHome,
  checkKey,
  checkNetwork,
  checkPort,
  checkSimd,
  checkStore,
  type Finding,
  judgeMemory,
  judgeNode,
  type Status,
} from '../checks.ts'
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { homeOf, networkPath } from '../home.ts'
import { count, print, printJson, say } from '../output.ts'
import { NETWORK_OPTIONS, networkOf } from '../reach.ts'
import { dim, green, red, yellow } from '../render.ts'

export const command: Command = {
  name: 'doctor',
  summary: 'what is wrong here, and what to do about it',
  options: {
    ...NETWORK_OPTIONS,
    port: { type: 'string', value: 'PORT', help: 'also see whether this port is free' },
    wait: { type: 'string', value: 'S', help: 'seconds to wait for peers at most', default: '5' },
    json: { type: 'boolean', help: 'one JSON line a check' },
  },
  run: async (call) => {
    if (call.args.length > 0) throw new UsageError(`"${call.args[0]}" is one word too many.\nSee: bitloom doctor --help`)
    const port = call.number('port', { min: 1, max: 65535, whole: true }) ?? 0
    const seen: Finding[] = []
    for await (const one of examine(call, port, call.number('wait', { min: 0.1, max: 600 })! * 1000)) {
      seen.push(one)
      if (call.flag('json')) printJson(one)
      else print(findingText(one))
    }
    const failed = seen.filter(({ status }) => status === 'fail').length
    const warned = seen.filter(({ status }) => status === 'warn').length
    say(
      dim(
        failed > 0
          ? `${count(failed, 'check')} failed.`
          : warned > 0
            ? `Nothing failed; ${count(warned, 'thing')} to know.`
            : 'All is well.',
      ),
    )
    return failed > 0 ? EXIT.failed : EXIT.ok
  },
}

const PAINT: Readonly<Record<Status, (text: string) => string>> = { ok: green, warn: yellow, fail: red }

/** A finding in a line, and what to do in a second one. */
export const findingText = ({ check, status, detail, todo }: Finding): string =>
  `  ${PAINT[status](status.padEnd(4))}  ${check.padEnd(9)}  ${detail.replaceAll('\n', ' ')}${todo === undefined ? '' : `\n${' '.repeat(19)}${todo}`}`

async function* examine(call: Call, port: number, waitMs: number): AsyncGenerator<Finding> {
  const home = homeOf(call.text('home'))
  yield judgeNode(process.version)
  yield checkSimd()
  yield checkEngine()
  yield await checkBackend()
  yield judgeMemory(totalmem())
  yield* checkHome(home)
  yield checkKey(home)
  yield* checkStore(home)
  yield checkAnvil()
  yield await checkPort(port)
  const file = call.text('network') ?? networkPath(home)
  if (call.text('network') === undefined && !existsSync(file)) {
    yield {
      check: 'network',
      status: 'warn',
      detail: `none here (${file})`,
      todo: 'Start one on this machine with: bitloom dev, or put the network’s file there.',
    }
    return
  }
  try {
    const network = networkOf(call)
    yield { check: 'network', status: 'ok', detail: file }
    yield* checkNetwork(network, home, waitMs)
  } catch (error) {
    yield {
      check: 'network',
      status: 'fail',
      detail: (error as Error).message.split('\n')[0]!,
      todo: 'Get the network’s file again, or start one here with: bitloom dev',
    }
  }
}
