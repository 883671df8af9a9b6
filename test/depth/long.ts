// The long form of games.test.ts, with figures: BITLOOM_GAMES=4 node test/depth/long.ts [--json FILE] [--only words,cnn]
// Every game is played in both roles; the first that the honest side does not win ends the run with its error.
import { renameSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { MODELS } from './models.ts'
import { Games } from './quarrels.ts'

const { values } = parseArgs({ options: { json: { type: 'string' }, only: { type: 'string' } } })
const each = Number(process.env.BITLOOM_GAMES ?? 4)
const models: object[] = []
let total = 0
for (const [name, make] of Object.entries(MODELS)) {
  if (values.only && !values.only.split(',').includes(name)) continue
  const started = process.cpuUsage()
  const model = await make()
  const games = new Games(model)
  games.playAll(games.places('long', each))
  games.inconsistent()
  const { kinds, ...figures } = games.summary()
  const cpuSeconds = Math.round(process.cpuUsage(started).user / 1e5) / 10
  total += figures.total
  models.push({ name, what: model.what, exprs: model.graph.exprs.length, ...figures, allWonInBothRoles: true, cpuSeconds, kinds })
  console.log(`${name}: ${figures.total} games won in both roles, ${figures.swallowed} lies swallowed, ${cpuSeconds} s of CPU`)
  if (!values.json) continue
  const report = { cpu: cpus()[0]?.model, node: process.version, exprsOfEveryOp: each, total, models }
  writeFileSync(`${values.json}.part`, `${JSON.stringify(report, null, 1)}\n`)
  renameSync(`${values.json}.part`, values.json)
}
