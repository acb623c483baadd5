/** Every annotation format that `ground data build --from` knows, in the order in which help lists them. */
import type { SourceFormat } from './source.ts';

export const SOURCES: readonly SourceFormat[] = [];
