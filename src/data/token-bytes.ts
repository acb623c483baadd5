/** What tokens stand for, in bytes. Spans of tokens are found by counting bytes: the tokenizer library has no offsets. */

const BLANK = '\u2581';

/**
 * The UTF-8 bytes of an ordinary token, by its content. Byte-level vocabularies (GPT-2, Qwen2) write each byte as a
 * printable character; SentencePiece's (Llama) write a blank as U+2581 and a byte that has no token as `<0xE2>`.
 */
export function pieceBytes(definition: object): (token: string) => Uint8Array {
  const encoder = new TextEncoder();
  if (mentions(Reflect.get(definition, 'decoder'), 'ByteLevel')) {
    const bytes = new Map(byteCharacters().map((character, byte) => [character, byte]));
    return token => Uint8Array.from(token, character => bytes.get(character) ?? 0);
  }
  return token => {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return encoder.encode(token.replaceAll(BLANK, ' '));
  };
}

function mentions(node: unknown, type: string): boolean {
  if (typeof node !== 'object' || node === null) return false;
  if (Reflect.get(node, 'type') === type) return true;
  return Object.values(node).some(part => mentions(part, type));
}

/** GPT-2's printable stand-in for each byte. */
export function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}
