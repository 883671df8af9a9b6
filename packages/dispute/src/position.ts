// Where in a quarrel we are: an interval of a sequence, or a node of a tree, and how one round narrows either. Twin: dispute/Position.sol.
//
// The widths are those at which a whole game costs least, calldata floor and storage included (docs/protocol.md §4): rounds are as few as these
// widths allow, and equally wide.
//
// Twin order: partsOf cutAt · takeOf childAt

/** Most parts that one `bisect` cuts a run of steps into: 32 bytes are shown for each. */
export const STEPS = 64
/** Most parts that one `bisectFold` cuts a fold into: 4 bytes are shown for each. */
export const TERMS = 256

/** Parts that one round cuts `count` (1 …) into: the fewest with which no more rounds are needed than with `most`. */
export function partsOf(count: number, most: number): number {
  if (count <= most) return count
  let rounds = 1
  for (let reach = most; reach < count; reach *= most) rounds++
  let [low, high] = [1, most] // too few, enough
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (middle ** rounds < count) low = middle
    else high = middle
  }
  return high
}

/** Where part i of `parts` of the interval from … to begins; the one after the last "begins" at `to`. */
export const cutAt = (from: number, to: number, parts: number, i: number): number => from + Math.floor((i * (to - from)) / parts)

/** Levels that one round takes from a node of this depth: up to 6 at once, else in as few rounds as 5 levels each and one more allow. */
export const takeOf = (depth: number): number => (depth <= 6 ? depth : Math.ceil(depth / Math.floor((depth + 3) / 5)))

/** The index, at its own height, of descendant i of node `index`, `take` levels below. */
export const childAt = (index: number, take: number, i: number): number => index * 2 ** take + i
