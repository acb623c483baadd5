/** What a stage does not train must be the same, byte for byte, when it ends. */
import { crc32c } from '@node-rs/crc32';
import { GroundError } from '../errors.ts';
import type { Parameter } from '../nn/parameter.ts';

/** CRC32C of each tensor's bytes, by name. */
export type Fingerprints = ReadonlyMap<string, number>;

/** Fingerprints of what parameters hold now. Networks here have no buffers: all that a model keeps are parameters. */
export async function fingerprintsOf(parameters: readonly Parameter[]): Promise<Fingerprints> {
  const prints = new Map<string, number>();
  for (const { name, value } of parameters) {
    const values = await value.data();
    prints.set(name, crc32c(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
  }
  return prints;
}

/** Names shown of many. */
const SHOWN = 6;

/** Throws GroundError('train') naming every frozen tensor that has other bytes than when the stage began. */
export async function requireUnchanged(frozen: readonly Parameter[], before: Fingerprints): Promise<void> {
  const now = await fingerprintsOf(frozen);
  const changed = [...now].flatMap(([name, print]) => (before.get(name) === print ? [] : [name]));
  if (changed.length === 0) return;
  const shown = changed.slice(0, SHOWN).join(', ') + (changed.length > SHOWN ? ', …' : '');
  throw new GroundError(
    'train',
    `${changed.length} of ${frozen.length} frozen tensors have changed while the stage trained: ${shown}`,
    {
      hint: 'this is a mistake of ground, or damaged memory; earlier checkpoints of the stage are untouched',
    },
  );
}
