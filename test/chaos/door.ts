// The chain's door in a chaos run: the embedded chain listens on loopback only, so this process carries bytes between it and the hosts. By itself, so that nothing else holds it up.

import { createServer, connect as dial, type Socket } from 'node:net'
import { first } from './first.ts'

/** Opens a door to a port of loopback. Says its own port in a line, and at the end of stdin how many connections there were. */
function open(port: number, host: string): void {
  let connections = 0
  const server = createServer((caller) => {
    connections++
    const chain = dial(port, '127.0.0.1')
    const carry = (from: Socket, to: Socket): void => {
      from.setNoDelay(true)
      from.on('error', () => to.destroy()) // a caller that was killed, or a chain that is gone: the other end hears of it
      from.pipe(to)
    }
    carry(caller, chain)
    carry(chain, caller)
  })
  server.listen(0, host, () => process.stdout.write(`${(server.address() as { port: number }).port}\n`))
  process.stdin.on('data', () => undefined)
  process.stdin.on('end', () => process.stdout.write(`${connections}\n`, () => process.exit(0)))
}

if (import.meta.main) {
  first()
  open(Number(process.argv[2]), process.argv[3]!)
}
