/** The images of evaluation sets, which no training set should have. */
import { createHash } from 'node:crypto';
import { openDataset } from '../dataset.ts';
import { type Fingerprint, FingerprintIndex } from '../image-hash.ts';
import { inOrder } from '../in-order.ts';
import { lookOf, rowsOf } from '../synthesis/guard.ts';
import type { Finding } from './problem.ts';

/** Images decoded at once. */
const IN_FLIGHT = 4;

/** Evaluation sets, known by the ids, the files and the looks of their images. */
export class EvaluationImages {
  readonly #byId = new Map<string, string>();
  readonly #byFile = new Map<string, string>();
  readonly #looks = new FingerprintIndex();

  /** Reads all of some datasets. Throws where a row cannot be read; images that cannot be decoded have no looks. */
  static async open(dirs: readonly string[], onRow: () => void): Promise<EvaluationImages> {
    const images = new EvaluationImages();
    for (const dir of dirs) {
      const dataset = await openDataset(dir);
      try {
        const seen = inOrder(rowsOf(dataset), IN_FLIGHT, async row => {
          const record = await dataset.read(row);
          const file = record.image.length === 0 ? null : digestOf(record.image);
          return { id: record.id, file, print: await lookOf(record) };
        });
        for await (const { id, file, print } of seen) {
          const name = `${id} of ${dir}`;
          images.#byId.set(id, name);
          if (file !== null) images.#byFile.set(file, name);
          if (print) images.#looks.add(print, name);
          onRow();
        }
      } finally {
        await dataset.close();
      }
    }
    return images;
  }

  /** Which of them an image is; null where none. */
  find(id: string, image: Uint8Array, print: Fingerprint | null): Finding | null {
    const file = image.length === 0 ? undefined : this.#byFile.get(digestOf(image));
    if (file !== undefined) return { kind: 'leak', problem: `image is the file of ${file}` };
    const named = this.#byId.get(id);
    if (named !== undefined) return { kind: 'leak', problem: `has the id of ${named}` };
    const alike = print === null ? null : this.#looks.find(print);
    return alike === null ? null : { kind: 'leak-alike', problem: `image looks like ${alike}` };
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('base64');
}
