// How others reach a node: the options of `node start` about listening, announcing and routers, and what they mean to the node.

import type { NodeOptions } from '@bitloom/node'
import { type Call, type Command, UsageError } from './command.ts'

type Reaching = Pick<NodeOptions, 'host' | 'announce' | 'behindRouter' | 'mdns' | 'peerPort' | 'wsPort' | 'blobPort'>

export const REACH_OPTIONS: Command['options'] = {
  host: {
    type: 'string',
    value: 'ADDRESS',
    help: 'listen here; the default is this computer only; 0.0.0.0: all its addresses',
    default: '127.0.0.1',
  },
  port: { type: 'string', value: 'PORT', help: 'for peers; any free one by default' },
  'ws-port': { type: 'string', value: 'PORT', help: 'for peers that come by WebSocket; any free one by default' },
  'blob-port': { type: 'string', value: 'PORT', help: 'for blobs; any free one by default' },
  announce: {
    type: 'string',
    value: 'ADDRESS',
    help: 'tell others this address or name instead: the router’s, with the three ports forwarded',
  },
  'behind-router': { type: 'boolean', help: 'nobody can connect to this computer: be reached through peers that serve as relays' },
  mdns: { type: 'string', value: 'yes|no', help: 'look for neighbours by multicast; yes by default at a home’s or company’s address' },
}

/** What the options say. Throws UsageError. */
export function reachingOf(call: Call): Reaching {
  const port = (name: string): number | undefined => call.number(name, { min: 1, max: 65535, whole: true })
  const [announce, mdns] = [call.text('announce'), call.text('mdns')]
  if (announce !== undefined && !/^[a-z0-9.:-]{1,128}$/i.test(announce))
    throw new UsageError(
      `--announce ${announce}: give an address or a name, such as 203.0.113.7 or node.example.org; ports have options of their own`,
    )
  if (mdns !== undefined && mdns !== 'yes' && mdns !== 'no') throw new UsageError(`--mdns ${mdns}: yes or no`)
  const behindRouter = call.flag('behind-router')
  if (behindRouter && announce !== undefined)
    throw new UsageError('--behind-router and --announce: either others can connect here, or they cannot')
  const [peerPort, wsPort, blobPort] = [port('port'), port('ws-port'), port('blob-port')]
  return {
    host: call.text('host')!,
    ...(announce === undefined ? {} : { announce }),
    ...(behindRouter ? { behindRouter } : {}),
    ...(mdns === undefined ? {} : { mdns: mdns === 'yes' }),
    ...(peerPort === undefined ? {} : { peerPort }),
    ...(wsPort === undefined ? {} : { wsPort }),
    ...(blobPort === undefined ? {} : { blobPort }),
  }
}
