/** An array parameter as a text literal: half the client's cost of an array parameter. */
export function textArray(values: readonly string[]): string {
  return `{${values.map((v) => `"${v.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
}

/** The same for numbers and for nulls, which need no quotes. */
export function plainArray(values: readonly (number | string | null | undefined)[]): string {
  return `{${values.map((v) => v ?? 'null').join(',')}}`
}

/** Text that may be missing: quoted where it is there. */
export function quotedArray(values: readonly (string | null)[]): string {
  const literal = (v: string | null) =>
    v === null ? 'null' : `"${v.replaceAll(/["\\]/g, '\\$&')}"`
  return `{${values.map(literal).join(',')}}`
}
