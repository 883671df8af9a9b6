// What JSON.parse does not say: whether a name appears twice in one object. A file that means two things is refused, not read one way.

/**
 * The first name that appears twice in one object of `text`, or undefined.
 * @param text valid JSON; on anything else the answer means nothing, so parse it first
 */
export function repeatedKey(text: string): string | undefined {
  /** The names seen in each open object; undefined for an open array. */
  const open: (Set<string> | undefined)[] = []
  let before = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!
    if (c === ' ' || c === '\n' || c === '\r' || c === '\t') continue
    if (c === '{') open.push(new Set())
    else if (c === '[') open.push(undefined)
    else if (c === '}' || c === ']') open.pop()
    else if (c === '"') {
      const begin = i
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++
      const names = open.at(-1)
      // In an object a string that follows "{" or "," is a name; one that follows ":" is a value.
      if (names && before !== ':') {
        const name = JSON.parse(text.slice(begin, i + 1)) as string
        if (names.has(name)) return name
        names.add(name)
      }
    }
    before = c
  }
  return undefined
}
