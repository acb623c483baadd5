/**
 * Published networks to a checkpoint that training can start from. Weights keep the dtype and the bytes that they are
 * stored with and pass through memory one tensor at a time; they are widened when the checkpoint is read.
 */
import { join } from 'node:path';
import { type ImportedTokenizer, importTokenizer } from '../data/tokenizer-import.ts';
import { GroundError } from '../errors.ts';
import type { ClipVisionConfig, Dinov2Config, LlamaConfig, ModelConfig } from '../models/config.ts';
import type { Dtype } from '../models/dtypes.ts';
import { Ferret } from '../models/ferret.ts';
import {
  type ClipConfigs,
  clipConfigs,
  dinov2Config,
  hasMaskToken,
  llamaConfig,
} from '../models/huggingface/configs.ts';
import { type HuggingFaceFolder, openHuggingFace } from '../models/huggingface/folder.ts';
import { type Match, matchTensors } from '../models/huggingface/match.ts';
import { type FolderName, placeOf } from '../models/huggingface/names.ts';
import { provenanceText } from '../models/huggingface/provenance.ts';
import { initialValues } from '../nn/init.ts';
import type { Parameter } from '../nn/parameter.ts';
import { type NamedArraySource, writeCheckpoint } from './checkpoint.ts';
import { extendTable } from './embedding-rows.ts';
import type { Recipe } from './recipe.ts';
import type { RecipeCodec } from './start.ts';

/** Folders of published networks. */
export interface ImportFolders {
  readonly clip: string;
  readonly dinov2: string;
  readonly llm: string;
}

/** The networks as the folders describe them; which hidden state is used is the recipe's business. */
export interface Networks {
  readonly global_encoder: ClipVisionConfig;
  readonly local_encoder: Dinov2Config;
  readonly llm: LlamaConfig;
}

export interface ImportOptions extends ImportFolders {
  /** The checkpoint's folder; one already there is replaced. */
  readonly out: string;
  /** A recipe around the networks: it says what they do not (image grids, sampler, projector, template, …). */
  readonly recipeFor: (networks: Networks) => Recipe;
  readonly codec: Pick<RecipeCodec, 'write'>;
  /** Takes what does not fit for missing, and gives what is missing its random start. */
  readonly allowMissing: boolean;
  /** Takes CLIP's text tower along, for contrastive pretraining. */
  readonly withText: boolean;
}

/** What was taken from one folder. */
export interface ImportedFolder {
  readonly folder: string;
  readonly modelType: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly dtypes: readonly Dtype[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly misshapen: readonly string[];
  /** Known tensors that are not needed: buffers, heads of other tasks, CLIP's text tower. */
  readonly leftBehind: readonly string[];
}

export interface ImportReport {
  readonly out: string;
  readonly bytes: number;
  readonly seconds: number;
  readonly model: ModelConfig;
  readonly folders: Readonly<Record<keyof ImportFolders, ImportedFolder>>;
  readonly addedTokens: ImportedTokenizer['added'];
  /** Parameters that no folder has, with their random start. */
  readonly initialised: readonly string[];
}

type OpenFolders = Readonly<Record<keyof ImportFolders, HuggingFaceFolder>>;

const ROLES = ['clip', 'dinov2', 'llm'] as const;

/**
 * Writes the checkpoint. Throws GroundError('model') that names every tensor that is missing, unexpected or of another
 * shape, unless `allowMissing`; 'tokenizer' where the tokenizer lacks what cannot be added; and what `recipeFor`
 * throws where the networks and the recipe do not fit together. Nothing is written before all of that has been looked at.
 */
export async function importHuggingFace(options: ImportOptions): Promise<ImportReport> {
  const opened: HuggingFaceFolder[] = [];
  const open = async (path: string): Promise<HuggingFaceFolder> => {
    const folder = await openHuggingFace(path);
    opened.push(folder);
    return folder;
  };
  try {
    const folders = {
      clip: await open(options.clip),
      dinov2: await open(options.dinov2),
      llm: await open(options.llm),
    };
    return await importFolders(folders, options);
  } finally {
    await Promise.all(opened.map(folder => folder.close()));
  }
}

async function importFolders(folders: OpenFolders, options: ImportOptions): Promise<ImportReport> {
  const tokenizer = await importTokenizer(options.llm, folders.llm.config);
  const clip = clipConfigs(folders.clip);
  const words = llamaConfig(folders.llm);
  const planned = options.recipeFor({
    global_encoder: clip.vision,
    local_encoder: dinov2Config(folders.dinov2),
    llm: { ...words, vocab_size: Math.max(words.vocab_size, tokenizer.tokenizer.vocabSize) },
  });
  const model = importedModel(planned.model, clip, words.vocab_size, tokenizer, options);
  const recipe: Recipe = { ...planned, model };
  const parameters = new Ferret(model).parameters.all;
  const matches = matchFolders(folders, parameters, clip, options);
  if (!options.allowMissing) refuseIncomplete(folders, matches);

  const seed = recipe.stage.seed;
  const newIds = tokenizer.added.map(({ id }) => id);
  const weights = new Map<string, NamedArraySource>();
  const initialised: string[] = [];
  for (const parameter of parameters) {
    const { folder: role } = placeOf(parameter.name);
    const stored = role === 'ferret' ? undefined : matches[role].found.get(parameter.name);
    if (role === 'ferret' || stored === undefined) {
      initialised.push(parameter.name);
      weights.set(parameter.name, { shape: parameter.shape, data: () => initialValues(parameter, seed) });
    } else {
      weights.set(parameter.name, storedArray(folders[role], stored, parameter, newIds));
    }
  }
  const companions = new Map(tokenizer.companions);
  companions.set('huggingface.json', new TextEncoder().encode(provenanceText(folders)));
  const saved = await writeCheckpoint(options.out, {
    state: {
      stage: 0,
      stageName: 'imported from Hugging Face',
      step: 0,
      steps: 0,
      samples: 0,
      tokens: 0,
      updates: 0,
      seeds: { stage: seed },
      loader: null,
      firstLoss: null,
      lastLosses: [],
    },
    model: weights,
    optimizer: { m: new Map(), v: new Map() },
    recipe: options.codec.write(recipe),
    modelConfig: model,
    tokenizer: tokenizer.json,
    companions,
  });
  const report = (role: keyof ImportFolders): ImportedFolder => summary(folders[role], matches[role]);
  return {
    out: saved.path,
    bytes: saved.bytes,
    seconds: saved.seconds,
    model,
    folders: { clip: report('clip'), dinov2: report('dinov2'), llm: report('llm') },
    addedTokens: tokenizer.added,
    initialised,
  };
}

/** The model of the recipe, with CLIP's text tower or without any. */
function importedModel(
  planned: ModelConfig,
  clip: ClipConfigs,
  llmWords: number,
  { tokenizer, added }: ImportedTokenizer,
  { withText, clip: clipPath, out }: ImportOptions,
): ModelConfig {
  const { pretraining: _, ...choices } = planned;
  const model: ModelConfig = { ...choices, tokenizer: join(out, 'tokenizer.json') };
  if (!withText) return model;
  if (clip.text === null) {
    throw new GroundError('model', `${clipPath} holds an image tower alone, and --with-text wants both`, {
      hint: 'give the folder of a CLIPModel, or leave --with-text out',
    });
  }
  const words = clip.text.vocab_size;
  if (![llmWords, tokenizer.vocabSize, tokenizer.vocabSize - added.length].includes(words)) {
    throw new GroundError(
      'tokenizer',
      `CLIP's text tower knows ${words} tokens, the tokenizer of the language model has ${tokenizer.vocabSize}`,
      { hint: 'both read the same tokens when they are trained together: leave --with-text out' },
    );
  }
  const text_encoder = { ...clip.text, vocab_size: Math.max(words, tokenizer.vocabSize) };
  return { ...model, pretraining: { text_encoder, projection_dim: clip.projectionDim } };
}

function matchFolders(
  folders: OpenFolders,
  parameters: readonly Parameter[],
  clip: ClipConfigs,
  { withText }: ImportOptions,
): Readonly<Record<keyof ImportFolders, Match>> {
  const llm = llamaConfig(folders.llm);
  const leftovers = { withoutText: !withText, tiedHead: llm.tie_word_embeddings };
  const rows = new Map([
    ['llm.model.embed_tokens.weight', llm.vocab_size],
    ['llm.lm_head.weight', llm.vocab_size],
    ['text_encoder.text_model.embeddings.token_embedding.weight', clip.text?.vocab_size ?? 0],
  ]);
  const match = (role: FolderName & keyof ImportFolders): Match => {
    const folder = folders[role];
    const wanted = parameters.filter(({ name }) => placeOf(name).folder === role);
    const found = matchTensors(role, wanted, folder.tensors, {
      leftovers,
      rows,
      fileOf: name => folder.fileOf(name),
    });
    if (role !== 'dinov2' || hasMaskToken(folder)) return found;
    return { ...found, missing: found.missing.filter(name => name !== 'embeddings.mask_token') };
  };
  return { clip: match('clip'), dinov2: match('dinov2'), llm: match('llm') };
}

/** Longest list of names in an error: whoever needs more is looking at the wrong folder. */
const MOST_NAMES = 20;

function refuseIncomplete(folders: OpenFolders, matches: Readonly<Record<keyof ImportFolders, Match>>): void {
  const lines = ROLES.flatMap(role =>
    (['missing', 'unexpected', 'misshapen'] as const).flatMap(kind => {
      const names = matches[role][kind];
      if (names.length === 0) return [];
      const more = names.length > MOST_NAMES ? [`    … ${names.length} in all`] : [];
      const listed = names.slice(0, MOST_NAMES).map(name => `    ${name}`);
      return [`  ${folders[role].path}, ${kind}:`, ...listed, ...more];
    }),
  );
  if (lines.length === 0) return;
  throw new GroundError(
    'model',
    `the weights are not those that config.json describes\n${lines.join('\n')}`,
    {
      hint: 'give the folders that belong together; --allow-missing goes on all the same: what is missing or misshapen starts random, what is unexpected is left out',
    },
  );
}

/** A stored tensor, read when it is written; a table of tokens grows by the rows that it lacks. */
function storedArray(
  folder: HuggingFaceFolder,
  stored: string,
  { name, shape }: Parameter,
  newIds: readonly number[],
): NamedArraySource {
  const info = folder.tensors.get(stored);
  const dtype = info?.dtype ?? 'F32';
  const isTable = /(^llm\.(model\.embed_tokens|lm_head)|\.token_embedding)\.weight$/.test(name);
  const [rows = 0, width = 0] = shape;
  const data = async (): Promise<Uint8Array> => {
    const bytes = await folder.readBytes(stored);
    if (!isTable) return bytes;
    return extendTable({ dtype, rows: info?.shape[0] ?? rows, width, bytes }, rows, newIds, stored);
  };
  return { shape, dtype, data };
}

function summary(folder: HuggingFaceFolder, match: Match): ImportedFolder {
  const infos = [...match.found.values()].flatMap(name => folder.tensors.get(name) ?? []);
  return {
    folder: folder.path,
    modelType: String(folder.config.model_type),
    tensors: infos.length,
    parameters: infos.reduce((sum, { shape }) => sum + shape.reduce((n, side) => n * side, 1), 0),
    dtypes: [...new Set(infos.map(({ dtype }) => dtype))].sort(),
    missing: match.missing,
    unexpected: match.unexpected,
    misshapen: match.misshapen,
    leftBehind: match.leftBehind,
  };
}
