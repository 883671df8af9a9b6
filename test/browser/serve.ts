// Serves this repository's modules to a browser, file by file, types stripped: nothing is bundled, so what runs there is what runs here.
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import { join, normalize, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** What a browser may read: sources, and the one package that they stand on there. */
const OPEN = ['packages', 'test', join('node_modules', '@noble')].map((folder) => folder + sep)

/** Where a bare import lies, seen from the server's root. Workers have no import maps, so the names are written out. */
const addressOf = (name: string): string => {
  const ours = /^@bitloom\/([a-z]+)(?:\/(.+))?$/.exec(name)
  if (ours) return `/packages/${ours[1]}/src/${ours[2] ?? 'index'}.ts`
  return `/${import.meta.resolve(name).slice(new URL('../..', import.meta.url).href.length)}`
}

/** Import and export clauses with a bare name: from '…' and import('…') and import '…'. */
const BARE = /(\bfrom\s*|\bimport\s*\(?\s*)(['"])([^'"./][^'"]*)\2/g

/** A module as a browser loads it. */
export const moduleText = (path: string): string => {
  const source = readFileSync(path, 'utf8')
  const plain = path.endsWith('.ts') ? stripTypeScriptTypes(source) : source
  return plain.replace(BARE, (whole, before: string, quote: string, name: string) =>
    name.startsWith('@bitloom/') || name.startsWith('@noble/') ? `${before}${quote}${addressOf(name)}${quote}` : whole,
  )
}

/** The page: a worker of its own for the engine, whose report goes back to where the page came from. */
const PAGE = `<!doctype html><meta charset="utf-8"><title>bitloom</title><script type="module">
const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) })
addEventListener('error', (event) => report({ error: event.message }))
const worker = new Worker('/test/browser/worker.ts', { type: 'module' })
worker.onmessage = (event) => report(event.data)
worker.onerror = (event) => report({ error: (event.message ?? 'the worker did not load') + ' ' + (event.filename ?? '') })
</script>`

export type Served<Report> = { readonly url: string; readonly report: Promise<Report>; readonly close: () => Promise<void> }

/** Serves the page and `order` on loopback; `report` is kept with what the page posts. */
export async function serve<Report>(order: unknown): Promise<Served<Report>> {
  const { promise: report, resolve } = Promise.withResolvers<Report>()
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname))
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, {
        'content-type': `${type}; charset=utf-8`,
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
        'cross-origin-resource-policy': 'same-origin',
      })
      response.end(body)
    }
    if (request.method === 'POST' && path === '/report') {
      let body = ''
      request.on('data', (part) => {
        body += part
      })
      request.on('end', () => {
        send(200, 'text/plain', 'thanks')
        resolve(JSON.parse(body) as Report)
      })
      return
    }
    if (path === '/') return send(200, 'text/html', PAGE)
    if (path === '/order') return send(200, 'application/json', JSON.stringify(order))
    const file = path.slice(1)
    if (!/\.(ts|js)$/.test(file) || !OPEN.some((folder) => file.startsWith(folder)) || !existsSync(join(ROOT, file)))
      return send(404, 'text/plain', `no ${path} here`)
    send(200, 'text/javascript', moduleText(join(ROOT, file)))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}/`,
    report,
    close: async () => {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}
