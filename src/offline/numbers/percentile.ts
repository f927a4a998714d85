/** numpy's linear percentile, as the scripts that these tools replace have it (numpy.percentile, method "linear"). */

/** Where the `q`th percentile (0..100) of `n` sorted values lies: between `below` and the next, `part` of the way. */
export function rankOf(q: number, n: number): { readonly below: number; readonly part: number } {
  const rank = (q / 100) * (n - 1);
  const below = Math.min(n - 1, Math.max(0, Math.floor(rank)));
  return { below, part: rank - below };
}

/** The value `part` of the way from `a` to `b`, rounded as numpy's _lerp does it. */
export function between(a: number, b: number, part: number): number {
  const gap = b - a;
  return part >= 0.5 ? b - gap * (1 - part) : a + gap * part;
}

/** The `q`th percentile of values in ascending order. NaN when there are none. */
export function percentile(sorted: ArrayLike<number>, q: number): number {
  const n = sorted.length;
  if (n === 0) return Number.NaN;
  const { below, part } = rankOf(q, n);
  const low = sorted[below] as number;
  return between(low, sorted[Math.min(n - 1, below + 1)] as number, part);
}
