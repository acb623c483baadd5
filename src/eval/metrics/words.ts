/** Captions as words, the way COCO's caption evaluation has the Penn Treebank tokenizer cut them. */

/** Marks that COCO's evaluation drops. */
const DROPPED = /[.?!,:;()[\]{}"“”`…]|--+|(?<=\s|^)['’]+|['’]+(?=\s|$)|(?<=\s|^)-+(?=\s|$)/gu;
/** Parts of a word that are words of their own: "dog's", "they're"; "don't" is "do n't". */
const CLITICS = /(?<=\p{L})(['’](?:s|re|ve|ll|d|m)|n['’]t)(?![\p{L}\p{N}])/gu;

/** Words in lower case without punctuation; a hyphen inside of a word stays. */
export function captionWords(caption: string): string[] {
  return caption
    .toLowerCase()
    .replace(DROPPED, ' ')
    .replace(CLITICS, ' $1')
    .replaceAll('’', "'")
    .split(/\s+/)
    .filter(word => word !== '');
}

/** How often each run of `n` words occurs. */
export function countNgrams(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const ngram = words.slice(i, i + n).join(' ');
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}
