// A place apart for a chaos run: network, mount and process namespaces of its own, so that nothing of it reaches this computer's network and nothing outlives it.
// When the run's first process ends, however it ends, the kernel ends all others and removes every namespace and interface.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Flags of `unshare` that make such a place: as root, else as a user who may be root within. */
const FLAGS = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']

export type Place = { readonly ok: true; readonly command: readonly string[] } | { readonly ok: false; readonly reason: string }

/** How to run a program apart, or why this computer cannot. */
export function findPlace(): Place {
  if (process.platform !== 'linux') return { ok: false, reason: `namespaces are Linux's; this is ${process.platform}` }
  for (const [program, ...words] of [
    ['ip', '-V'],
    ['nsenter', '--version'],
    ['cc', '--version'],
  ])
    if (spawnSync(program!, words, { stdio: 'ignore' }).status !== 0)
      return { ok: false, reason: `there is no program \`${program}\` here` }
  if (!existsSync('/dev/net/tun')) return { ok: false, reason: 'there is no /dev/net/tun here' }
  let reason = ''
  for (const more of process.getuid?.() === 0 ? [[]] : [['--map-root-user']]) {
    const command = ['unshare', ...more, ...FLAGS]
    // everything that the network of a run is made of, once
    const script =
      'mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add a && ip link add name v0 type veth peer name eth0 netns a && ip tuntap add wire mode tun'
    const { status, stderr, error } = spawnSync(command[0]!, [...command.slice(1), 'sh', '-c', script], { encoding: 'utf8' })
    if (status === 0) return { ok: true, command }
    reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? `status ${status}`
  }
  return { ok: false, reason: `no namespaces: ${reason}` }
}

/** Runs a program apart, with our input and output, and gives back its status. It ends with us. */
export async function runApart(command: readonly string[], program: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const script = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"'
  const child = spawn(command[0]!, [...command.slice(1), 'sh', '-c', script, 'sh', ...program], { stdio: 'inherit', env })
  const end = (): void => void child.kill('SIGKILL') // --kill-child passes it on
  // first of all: whoever removes the run's folder as we exit must find nobody in it
  process.prependListener('exit', end)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
  process.off('exit', end)
  return status
}
