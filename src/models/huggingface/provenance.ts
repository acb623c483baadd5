import type { HuggingFaceFolder, JsonObject } from './folder.ts';
import { isJsonObject } from './folder.ts';
import { canonicalName } from './names.ts';

/** Where a checkpoint's networks came from: what an export gives back beside weights. */
export interface Provenance {
  /** config.json of each folder, as it was. */
  readonly configs: Readonly<Record<'clip' | 'dinov2' | 'llm', JsonObject>>;
  /** Whether the image tower's tensors were stored without `vision_model.`. */
  readonly bareVision: boolean;
}

/** The text of huggingface.json. */
export function provenanceText(
  folders: Readonly<Record<'clip' | 'dinov2' | 'llm', HuggingFaceFolder>>,
): string {
  const provenance: Provenance = {
    configs: { clip: folders.clip.config, dinov2: folders.dinov2.config, llm: folders.llm.config },
    bareVision: [...folders.clip.tensors.keys()].some(
      name => !name.startsWith('vision_model.') && canonicalName('clip', name).startsWith('vision_model.'),
    ),
  };
  return `${JSON.stringify(provenance, null, 2)}\n`;
}

/** Reads huggingface.json back; null for what is none. */
export function parseProvenance(text: string): Provenance | null {
  const parsed: unknown = JSON.parse(text);
  if (!isJsonObject(parsed) || !isJsonObject(parsed.configs)) return null;
  const { clip, dinov2, llm } = parsed.configs;
  if (!isJsonObject(clip) || !isJsonObject(dinov2) || !isJsonObject(llm)) return null;
  return { configs: { clip, dinov2, llm }, bareVision: parsed.bareVision === true };
}
