/** Every annotation format that `ground data build --from` knows, in the order in which help lists them. */

import { coco, lvis } from './coco.ts';
import { ferret } from './ferret.ts';
import { flickr30kEntities } from './flickr30k-entities.ts';
import { gqa } from './gqa.ts';
import { jsonl } from './jsonl.ts';
import { llava } from './llava.ts';
import { pope } from './pope.ts';
import { refcoco } from './refcoco.ts';
import type { SourceFormat } from './source.ts';
import { arrow, parquet } from './tables.ts';
import { textvqa } from './textvqa.ts';
import { visualGenome } from './visual-genome.ts';
import { vqa } from './vqa.ts';

export const SOURCES: readonly SourceFormat[] = [
  coco,
  lvis,
  refcoco,
  flickr30kEntities,
  visualGenome,
  llava,
  ferret,
  vqa,
  textvqa,
  gqa,
  pope,
  jsonl,
  parquet,
  arrow,
];
