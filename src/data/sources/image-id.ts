/** Ids of images from the names of their files, such that annotations of one image in different files meet. */

/** COCO 2014 and 2017: twelve digits, in 2014 behind the name of the split. */
const COCO = /^(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})$/i;
/** Folders whose images are Visual Genome's, named by its number. */
const VISUAL_GENOME = /(?:^|\/)(?:VG_100K(?:_2)?|vg|visual_?genome|gqa)\//i;
const FLICKR30K = /(?:^|\/)flickr30k[^/]*\//i;
/** TextVQA and TextCaps name images of Open Images. */
const OPEN_IMAGES = /^[0-9a-f]{16}$/;

/**
 * The id of the image that a file (a name, a path or an address) holds: `coco-<number>` for COCO's names, also those of
 * RefCOCO (`COCO_train2014_000000581857_16.jpg`), `vg-<number>` and `flickr30k-<number>` where the folder tells,
 * `openimages-<hex>`; for all others the path as it is.
 */
export function imageIdOf(fileName: string): string {
  const path = fileName
    .replaceAll('\\', '/')
    .replace(/^[a-z]+:\/\/[^/]+\//i, '')
    .replace(/^(?:\.?\/)+/, '');
  const stem = path.replace(/\.[A-Za-z0-9]{1,5}$/, '');
  const name = stem.slice(stem.lastIndexOf('/') + 1);
  // RefCOCO appends the annotation's number to the name of the image.
  const coco = COCO.exec(name) ?? /^COCO_(?:train|val|test)\d{4}_(\d{12})_\d+$/i.exec(name);
  if (coco) return cocoImageId(Number(coco[1]));
  if (/^\d+$/.test(name)) {
    if (VISUAL_GENOME.test(path)) return visualGenomeImageId(Number(name));
    if (FLICKR30K.test(path)) return `flickr30k-${name}`;
  }
  return OPEN_IMAGES.test(name) ? `openimages-${name}` : path;
}

/** The id of a COCO image (LVIS and RefCOCO use the same numbers). */
export function cocoImageId(number: number): string {
  return `coco-${number}`;
}

/** The id of an image of Visual Genome (GQA uses the same numbers). */
export function visualGenomeImageId(number: number | string): string {
  return `vg-${number}`;
}
