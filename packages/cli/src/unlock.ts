// Asking a person: passwords without echo, yes or no; and unlocking the key with what they say.

import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { type LocalKey, loadKey, PASSWORD_VARIABLE, resolvePassword } from '@bitloom/node'
import { type Call, RefusedError, UsageError } from './command.ts'
import { homeOf, keyPath } from './home.ts'

export const PASSWORD_OPTION = {
  'password-file': { type: 'string', value: 'FILE', help: `the key’s password (or ${PASSWORD_VARIABLE}; else it is asked for)` },
} as const

/** Shortest password for a new key. */
export const LEAST_PASSWORD = 8

const canAsk = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true

/** What a line editor without echo makes of keys: the text so far, and whether it is done. */
export type Typed = { readonly text: string; readonly done?: 'entered' | 'stopped' }

/** One more piece of terminal input. */
export function typed(before: string, input: string): Typed {
  let text = before
  // biome-ignore lint/suspicious/noControlCharactersInRegex: arrow keys and their kin begin with the escape character
  for (const c of input.replace(/\u001b(\[[0-9;]*[A-Za-z~]|.)/g, '')) {
    if (c === '\r' || c === '\n') return { text, done: 'entered' }
    if (c === '\u0003' || c === '\u0004') return { text, done: 'stopped' }
    if (c === '\u007f' || c === '\b') text = [...text].slice(0, -1).join('')
    else if (c === '\u0015') text = ''
    else if (c >= ' ') text += c
  }
  return { text }
}

/** Asks for a line that nobody should see. @throws {RefusedError} the person stopped */
async function askHidden(question: string): Promise<string> {
  const { stdin } = process
  process.stderr.write(question)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  try {
    return await new Promise<string>((resolve, reject) => {
      let text = ''
      const onEnd = (): void => reject(new RefusedError('The terminal closed; nothing was done.'))
      const onData = (input: string): void => {
        const now = typed(text, input)
        text = now.text
        if (now.done === undefined) return
        stdin.off('data', onData).off('end', onEnd)
        if (now.done === 'entered') resolve(text)
        else reject(new RefusedError('Stopped; nothing was done.'))
      }
      // whoever asked before may have left the stream paused
      stdin.on('data', onData).once('end', onEnd).resume()
    })
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    process.stderr.write('\n')
  }
}

/** Asks yes or no; no without a terminal. */
export async function confirm(question: string): Promise<boolean> {
  if (!canAsk()) return false
  const reader = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await reader.question(`${question} [y/N] `).catch((error: Error) => {
      if (error.name === 'AbortError') return '' // Ctrl-C is a no
      throw error
    })
    return /^\s*y(es)?\s*$/i.test(answer)
  } finally {
    reader.close()
  }
}

const given = (call: Call): string | undefined => {
  const file = call.text('password-file')
  return file === undefined && process.env[PASSWORD_VARIABLE] === undefined
    ? undefined
    : resolvePassword(file === undefined ? {} : { file })
}

const mustAsk = (): void => {
  if (!canAsk())
    throw new UsageError(`There is no terminal to ask for the password.\nSet ${PASSWORD_VARIABLE}, or give --password-file FILE.`)
}

/**
 * The password for a new key: from a file, the environment, or typed twice.
 * @throws {UsageError} too short, or nobody to ask · {RefusedError} typed differently
 */
export async function newPassword(call: Call): Promise<string> {
  let password = given(call)
  if (password === undefined) {
    mustAsk()
    password = await askHidden('Password for the new key: ')
    if (password.length >= LEAST_PASSWORD && (await askHidden('Again: ')) !== password)
      throw new RefusedError('The two differ; no key was made.')
  }
  if (password.length < LEAST_PASSWORD)
    throw new UsageError(`A password needs at least ${LEAST_PASSWORD} characters; this one has ${password.length}. No key was made.`)
  return password
}

/**
 * Unlocks the home's key.
 * @throws {RefusedError} there is no key · {WrongPasswordError}
 */
export async function unlock(call: Call): Promise<LocalKey> {
  const path = keyPath(homeOf(call.text('home')))
  if (!existsSync(path)) throw new RefusedError(`There is no key here (${path}).\nMake one with: bitloom wallet new`)
  let password = given(call)
  if (password === undefined) {
    mustAsk()
    password = await askHidden(`Password of ${path}: `)
  }
  return loadKey(path, password)
}
