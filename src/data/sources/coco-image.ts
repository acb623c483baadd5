/** Which image an entry of a COCO or LVIS file means: its file's name, its id, its split. */
import { GroundError } from '../../errors.ts';
import type { CocoEntry, Json } from './coco-json.ts';
import { imageIdOf } from './image-id.ts';

/** An image as the annotation files describe it. */
export interface CocoImage {
  /** Of the record. */
  readonly id: string;
  /** Names inside the image folders, to be tried in turn; at least one. */
  readonly names: readonly string[];
  /** Null where the file does not tell. */
  readonly width: number | null;
  readonly height: number | null;
  readonly split: string | undefined;
}

/**
 * The image of an entry, or null where it has no usable file name. COCO's files name images by `file_name`, LVIS's by
 * `coco_url` alone, whose last folder tells train2017 from val2017.
 */
export function cocoImage({ from, value }: CocoEntry): CocoImage | null {
  const fromUrl = [value.coco_url, value.flickr_url].flatMap(address => {
    const parts = typeof address === 'string' ? address.split(/[?#]/)[0]?.split('/').slice(-2) : undefined;
    return parts?.at(-1) ? [parts.join('/')] : [];
  });
  const own = typeof value.file_name === 'string' ? [value.file_name] : [];
  const names = [...own, ...fromUrl].filter(isInside);
  const [first] = names;
  if (first === undefined) return null;
  return {
    // An address is no path of anybody's folder: its last part is the name.
    id: imageIdOf(own.length > 0 ? first : (first.split('/').at(-1) ?? first)),
    names,
    width: typeof value.width === 'number' ? value.width : null,
    height: typeof value.height === 'number' ? value.height : null,
    split: splitOf(from.file) ?? splitOf(fromUrl[0]?.split('/')[0] ?? ''),
  };
}

/** Throws `data` where two files mean different images by one id. */
export function checkSameImage(entries: readonly CocoEntry[]): void {
  const [first, ...others] = entries;
  const name = first && lastName(first.value);
  for (const other of others) {
    const found = lastName(other.value);
    if (first === undefined || name === undefined || found === undefined || found === name) continue;
    if (other.from.file === first.from.file) continue;
    throw new GroundError(
      'data',
      `image ${String(other.value.id)} is ${name} in ${first.from.file} and ${found} in ${other.from.file}`,
      { hint: 'build a dataset from each of the files and join them with `ground data merge`' },
    );
  }
}

function lastName({ file_name, coco_url }: Json): string | undefined {
  const name = typeof file_name === 'string' ? file_name : coco_url;
  return typeof name === 'string' ? name.split(/[\\/]/).at(-1) : undefined;
}

/** A name that leads out of the image folder is none. */
function isInside(name: string): boolean {
  return name !== '' && !name.startsWith('/') && !name.split(/[\\/]/).includes('..');
}

/** "train" of "instances_train2017.json", "val" of "val2017". */
function splitOf(path: string): string | undefined {
  const name = path.split(/[\\/]/).at(-1) ?? '';
  return /(?:^|[^A-Za-z])(train|val|test|minival)(?![A-Za-z])/.exec(name)?.[1];
}
