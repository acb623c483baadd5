/** Every annotation format that `ground data build --from` knows, in the order in which help lists them. */
import { flickr30kEntities } from './flickr30k-entities.ts';
import { refcoco } from './refcoco.ts';
import type { SourceFormat } from './source.ts';
import { visualGenome } from './visual-genome.ts';

export const SOURCES: readonly SourceFormat[] = [refcoco, flickr30kEntities, visualGenome];
