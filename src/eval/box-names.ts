/** What a box is called by the words before it. */

/** "…, 2: traffic light " to "traffic light": what stands behind the last number or comma of a list, in lower case. */
export function listedName(before: string): string {
  const parts = before.split(/(?:^|[\s,;])\d+\s*[:.)]\s|[,;:\n"{}]|\.\s/);
  const words = parts
    .map(part => part.trim())
    .filter(part => /[\p{L}\p{N}]/u.test(part))
    .at(-1);
  return (words ?? '')
    .toLowerCase()
    .replace(/^(?:a|an|the|and)\s+/, '')
    .replace(/[\s(<]+$/, '')
    .trim();
}

/** The last word, in lower case; null where there is none. */
export function headWord(before: string): string | null {
  const words = before.toLowerCase().match(/[\p{L}\p{N}][\p{L}\p{N}'’-]*/gu);
  return words?.at(-1) ?? null;
}
