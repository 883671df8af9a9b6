// Finds a browser on this machine and opens a page in it, without a window and with a profile of its own that goes when it is closed.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']

const executable = (path: string): boolean => {
  if (!existsSync(path)) return false
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return false
    throw error
  }
}

/** The browser's path: BITLOOM_BROWSER, or the first of Chromium's names on the PATH. */
export const findBrowser = (env: NodeJS.ProcessEnv = process.env): string | undefined => {
  if (env.BITLOOM_BROWSER) return env.BITLOOM_BROWSER
  const folders = (env.PATH ?? '').split(delimiter)
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(executable)
}

export type Browser = {
  /** Settles only if the browser ends by itself, with what it said. */
  readonly ended: Promise<string>
  readonly close: () => Promise<void>
}

/** Opens `url`. */
export function openBrowser(path: string, url: string): Browser {
  const profile = mkdtempSync(join(tmpdir(), 'bitloom-browser-'))
  const flags = [
    '--headless=new',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-extensions',
    `--user-data-dir=${profile}`,
    // Chromium's sandbox refuses to run as root, which is who runs in a container
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  ]
  const child = spawn(path, [...flags, url], { stdio: ['ignore', 'ignore', 'pipe'], detached: process.platform !== 'win32' })
  let said = ''
  child.stderr.on('data', (text) => {
    said = (said + text).slice(-2000)
  })
  let over = false
  const exited = new Promise<string>((resolve) => {
    const end = (reason: string): void => {
      over = true
      resolve(`the browser ended (${reason}): ${said.trim()}`)
    }
    child.on('error', (error) => end(error.message))
    child.on('exit', (code, signal) => end(String(signal ?? code)))
  })
  return {
    ended: exited,
    close: async () => {
      // its helpers are of its own process group
      if (!over && child.pid !== undefined) process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL')
      await exited
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
  }
}
