// The network of a chaos run: a namespace for each host, wired to ours so that every packet passes the wire (wire.ts). Needs a place apart (apart.ts).

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Link, WireCounts, WireOrder } from './wire.ts'

export const HUB = '10.77.0.1'
/** The hub's number on the wire; hosts count from FIRST_HOST. */
export const HUB_HOST = 1
const FIRST_HOST = 10
const TUN_TABLE = 77

export type Net = {
  /** The address of host i, 0 ≤ i < hosts. */
  readonly address: (i: number) => string
  /** What to put before a command to run it on host i. */
  readonly within: (i: number) => string[]
  /** Changes what host i's link does; 'hub' is where the chain and the submitters are. */
  readonly set: (host: number | 'hub', change: Partial<Link>) => void
  readonly stop: () => Promise<WireCounts>
}

/** Lays the wires. `dir`: where the opener of the TUN interface is compiled to. */
export function layNet(hosts: number, seed: string, dir: string, base: (i: number | 'hub') => Partial<Link>): Net {
  const address = (i: number): string => `10.77.0.${FIRST_HOST + i}`
  const opener = join(dir, 'tun')
  run('cc', ['-O1', '-Wall', '-o', opener, fileURLToPath(new URL('tun.c', import.meta.url))])
  // the hub owns addresses that packets come back from: it must neither doubt them nor shorten their way
  for (const [name, value] of [
    ['ip_forward', 1],
    // a packet that was matched with one of the hub's sockets on arrival would not be sent through the wire
    ['ip_early_demux', 0],
    ['conf/all/rp_filter', 0],
    ['conf/default/rp_filter', 0],
    ['conf/all/send_redirects', 0],
    ['conf/default/send_redirects', 0],
    ['conf/all/accept_local', 1],
  ] as const)
    writeFileSync(`/proc/sys/net/ipv4/${name}`, String(value))
  const ip = (...lines: string[]): void => void run('ip', ['-batch', '-'], `${lines.join('\n')}\n`)
  ip('link set lo up', `addr add ${HUB}/32 dev lo`, 'tuntap add wire mode tun', 'link set wire up txqueuelen 10000')
  // out of a host, and out of the hub to a host: through the wire; back from it: to where it belongs
  ip(
    'rule add pref 20 lookup local',
    'rule del pref 0',
    `rule add pref 11 iif lo to ${HUB} lookup local`,
    `rule add pref 12 iif lo to 10.77.0.0/24 lookup ${TUN_TABLE}`,
    `route add default dev wire src ${HUB} table ${TUN_TABLE}`,
  )
  for (let i = 0; i < hosts; i++) {
    const name = `h${i}`
    const mac = (end: number): string => `02:00:00:00:${end}:${i.toString(16).padStart(2, '0')}`
    // neighbours are told, not asked for: what the hub is asked on a host's interface it would send through the wire instead of answering
    ip(
      `netns add ${name}`,
      `link add name v${i} address ${mac(10)} type veth peer name eth0 address ${mac(20)} netns ${name}`,
      `link set v${i} up`,
      `neigh add ${address(i)} lladdr ${mac(20)} dev v${i} nud permanent`,
      `route add ${address(i)} dev v${i}`,
      `rule add pref 10 iif v${i} lookup ${TUN_TABLE}`,
    )
    const within = (...lines: string[]): void => void run('ip', ['-netns', name, '-batch', '-'], `${lines.join('\n')}\n`)
    within(
      'link set lo up',
      `addr add ${address(i)}/32 dev eth0`,
      'link set eth0 up',
      `neigh add ${HUB} lladdr ${mac(10)} dev eth0 nud permanent`,
      `route add ${HUB} dev eth0`,
      `route add default via ${HUB}`,
    )
  }
  const wire: ChildProcess = spawn(opener, ['wire', process.execPath, fileURLToPath(new URL('wire.ts', import.meta.url)), seed], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<number | null>((resolve) => wire.once('exit', resolve))
  let counts: WireCounts = { packets: 0, bytes: 0, lost: 0, refused: 0 }
  createInterface({ input: wire.stdout! }).on('line', (line) => {
    counts = JSON.parse(line) as WireCounts
  })
  const set = (host: number | 'hub', change: Partial<Link>): void => {
    const order: WireOrder = { links: { [host === 'hub' ? HUB_HOST : FIRST_HOST + host]: change } }
    wire.stdin!.write(`${JSON.stringify(order)}\n`)
  }
  set('hub', base('hub'))
  for (let i = 0; i < hosts; i++) set(i, base(i))
  return {
    address,
    within: (i) => ['nsenter', `--net=/run/netns/h${i}`],
    set,
    stop: async () => {
      wire.stdin!.end()
      await exited
      return counts
    },
  }
}

function run(program: string, words: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(program, words, { input, encoding: 'utf8' })
  if (status !== 0) throw new NetError(`${program} ${words.join(' ')} failed: ${error?.message ?? stderr.trim()}\n${input}`)
  return stdout
}

export class NetError extends Error {
  override name = 'chaos.NetError'
}
