/**
 * Which Hugging Face folder a parameter belongs to and what it is called there. Parameters carry Hugging Face's names
 * below the prefix of their module, so that a map is a prefix; only CLIP's projections are called differently here.
 */

/** The folders that a model comes from and goes to; `ferret` holds what no published network has. */
export const FOLDERS = ['clip', 'dinov2', 'llm', 'ferret'] as const;

export type FolderName = (typeof FOLDERS)[number];

/** A tensor's place among the folders. */
export interface Place {
  readonly folder: FolderName;
  readonly name: string;
}

/** Parameters of ours that have another name in a CLIPModel. */
const CLIP_NAMES: Readonly<Record<string, string>> = {
  'text_encoder.text_projection.weight': 'text_projection.weight',
  'contrastive.global_projection.weight': 'visual_projection.weight',
  'contrastive.logit_scale': 'logit_scale',
};

const PREFIXES: readonly (readonly [prefix: string, folder: FolderName])[] = [
  ['encoder.global.', 'clip'],
  ['text_encoder.', 'clip'],
  ['encoder.local.', 'dinov2'],
  ['llm.', 'llm'],
];

/** Where a parameter of the model goes. */
export function placeOf(parameter: string): Place {
  const renamed = CLIP_NAMES[parameter];
  if (renamed !== undefined) return { folder: 'clip', name: renamed };
  for (const [prefix, folder] of PREFIXES) {
    if (parameter.startsWith(prefix)) return { folder, name: parameter.slice(prefix.length) };
  }
  return { folder: 'ferret', name: parameter };
}

/** What a model does not need of a folder, by pattern over the names of `canonicalName`. */
export interface Leftovers {
  /** CLIP's text tower and projections are left behind. */
  readonly withoutText: boolean;
  /** The output layer is the embedding; older files hold it twice. */
  readonly tiedHead: boolean;
}

/**
 * The name of a stored tensor as `placeOf` writes it: base models are saved without the prefix that the model around
 * them gives them (`embeddings.…` for `vision_model.embeddings.…`), and task models with one more.
 */
export function canonicalName(folder: FolderName, stored: string): string {
  switch (folder) {
    case 'clip': {
      const name = stored.replace(/^clip\./, '');
      return /^(embeddings|encoder|pre_layrnorm|post_layernorm)\./.test(name) ? `vision_model.${name}` : name;
    }
    case 'dinov2':
      return stored.replace(/^dinov2(_with_registers)?\./, '');
    case 'llm':
      return /^(embed_tokens|layers|norm)\./.test(stored) ? `model.${stored}` : stored;
    case 'ferret':
      return stored;
  }
}

/** Whether a tensor is known and knowingly left behind: a buffer, a task's head, or what `Leftovers` says. */
export function isLeftBehind(folder: FolderName, name: string, leftovers: Leftovers): boolean {
  switch (folder) {
    case 'clip': {
      const text = /^(text_model\.|text_projection\.|visual_projection\.|logit_scale$)/;
      return name.endsWith('.position_ids') || (leftovers.withoutText && text.test(name));
    }
    case 'dinov2':
      return name.startsWith('classifier.');
    case 'llm':
      return name.endsWith('.rotary_emb.inv_freq') || (leftovers.tiedHead && name === 'lm_head.weight');
    case 'ferret':
      return false;
  }
}
