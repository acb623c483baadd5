/** An exported folder that answers: onnxruntime in place of the engine, everything else the same code. */
import { join } from 'node:path';
import { collate } from '../data/collate.ts';
import type { Sample } from '../data/sample.ts';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import { type Answer, type AnswerOptions, answersFrom } from '../eval/answer.ts';
import { generateFrom, type Scored, type ScoringModel } from '../eval/generate.ts';
import type { LossSum } from '../eval/metrics/caption.ts';
import type { Answering } from '../eval/predict.ts';
import type { ConversationBatch, Floats, Ints, RegionGeometry } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { sampledBlocks } from '../models/tensors.ts';
import { type OnnxInput, type OnnxSession, type OnnxTensor, openOnnx } from './onnx/run.ts';
import { ONNX_FOLDER, type OnnxSettings, partFile, readSettings } from './onnx-settings.ts';
import { PART_NAMES, type PartName, pastName, presentName } from './parts.ts';

/**
 * Opens a folder that `ground export onnx` wrote. No engine is needed or started.
 *
 * @throws GroundError('usage') when the folder is no such export, 'export' when a file is damaged or onnxruntime-node missing
 */
export async function openOnnxModel(folder: string): Promise<OnnxModel> {
  const settings = readSettings(folder);
  const tokenizer = loadTokenizer(settings.model.tokenizer);
  const sessions = new Map<PartName, OnnxSession>();
  try {
    for (const part of PART_NAMES) {
      sessions.set(part, await openOnnx(join(folder, ONNX_FOLDER), partFile(part, settings.dtype)));
    }
  } catch (thrown) {
    await Promise.all([...sessions.values()].map(session => session.close()));
    throw thrown;
  }
  return new OnnxModel(settings, tokenizer, sessions);
}

/** Keys and values so far, and where the next tokens stand. */
interface Cache {
  readonly past: Readonly<Record<string, OnnxTensor>>;
  /** Positions in use of each prompt; `padded` is the length to which all are padded. */
  readonly lengths: readonly number[];
  readonly padded: number;
  readonly decoded: number;
}

/** The cache that a batch's prompts begin with. */
function promptCache({ size, length, mask }: ConversationBatch, past: Cache['past']): Cache {
  const lengths = Array.from({ length: size }, (_, b) =>
    mask.data.subarray(b * length, (b + 1) * length).reduce((sum, used) => sum + used, 0),
  );
  return { past, lengths, padded: 0, decoded: 0 };
}

/** log Σ exp(x), without overflow. */
function logSumExp(values: ArrayLike<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i] ?? 0);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp((values[i] ?? 0) - largest);
  return largest + Math.log(sum);
}

/** The pieces of a network as onnxruntime sessions. `close` frees them. */
export class OnnxModel implements Answering {
  readonly settings: OnnxSettings;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly stage: Answering['stage'];
  readonly #sessions: ReadonlyMap<PartName, OnnxSession>;

  constructor(settings: OnnxSettings, tokenizer: Tokenizer, sessions: ReadonlyMap<PartName, OnnxSession>) {
    const { views, seed, grounding_prompt } = settings;
    this.settings = settings;
    this.config = settings.model;
    this.tokenizer = tokenizer;
    this.stage = { views, seed, grounding_prompt };
    this.#sessions = sessions;
  }

  /** Answers to prompts, all in one batch, as `answerPrompts` of the engine's models. */
  async answer(prompts: readonly Sample[], options: AnswerOptions): Promise<Answer[]> {
    const batch = collate(prompts, this.config, { buckets: false });
    return answersFrom(this.config, this.tokenizer, prompts, batch.length, options, generation =>
      generateFrom(this.scoring(batch), generation),
    );
  }

  /** As `lossOf` of the engine's models: what the decoder, read without a past, says of the true answers. */
  async loss(samples: readonly Sample[]): Promise<LossSum> {
    const batch = collate(samples, this.config, { buckets: false });
    const [logits] = await this.#logits(
      await this.embeddings(batch),
      promptCache(batch, this.#emptyPast(batch.size)),
    );
    const words = logits.shape[2] ?? 0;
    const sum = { loss: 0, weight: 0 };
    for (const [i, row] of batch.targetRows.data.entries()) {
      const weight = batch.targetWeights.data[i] ?? 0;
      const scores = logits.data.subarray(row * words, (row + 1) * words);
      sum.loss += weight * (logSumExp(scores) - (scores[batch.targets.data[i] ?? 0] ?? 0));
      sum.weight += weight;
    }
    return sum;
  }

  /** Scores of the next token, token after token, for the prompts of a batch. */
  scoring(batch: ConversationBatch): ScoringModel {
    let cache: Cache | undefined;
    const step = async (embeddings: OnnxTensor, before: Cache, rows: readonly number[]): Promise<Scored> => {
      const [scored, after] = await this.#decode(embeddings, before, rows);
      cache = after;
      return scored;
    };
    return {
      start: async () => {
        const embeddings = await this.embeddings(batch);
        const empty = promptCache(batch, this.#emptyPast(batch.size));
        return step(
          embeddings,
          empty,
          empty.lengths.map(length => length - 1),
        );
      },
      next: async tokens => {
        if (cache === undefined) throw new GroundError('model', 'a token was given before the prompt');
        const embeddings = await this.#embedded(tokens, [tokens.length, 1]);
        return step(
          embeddings,
          cache,
          Array.from(tokens, () => 0),
        );
      },
    };
  }

  /** The decoder's input for a batch [B, T, hidden_size]: text, visual and region vectors, each at its position. */
  async embeddings(batch: ConversationBatch): Promise<OnnxTensor> {
    const width = this.config.llm.hidden_size;
    const text = await this.#embedded(batch.tokens.data, [batch.size, batch.length]);
    const table = [text];
    if (batch.globalPixels.data.length > 0) {
      const seen = await this.#run('vision_encoder', {
        pixel_values: floats(batch.globalPixels),
        tile_values: floats(batch.localPixels),
      });
      const tiles = batch.localPixels.shape[0] ?? 0;
      const patches = tiles === 0 ? 0 : batch.localCentres.data.length / 2 / tiles;
      const projected = await this.#run('projectors', {
        ...seen,
        tile_centres: { data: batch.localCentres.data, shape: [tiles, patches, 2], type: 'float32' },
      });
      for (const name of ['global_tokens', 'tile_tokens']) {
        const tokens = projected[name];
        if (tokens) table.push(tokens);
      }
      if (batch.regions.count > 0) {
        const maps = this.config.referring.features === 'encoder';
        const regions = await this.#run('region_sampler', {
          ...regionFeeds(batch.regions),
          global_map: (maps ? seen.global_features : projected.global_map) as OnnxTensor,
          ...((seen.tile_features ?? projected.tile_map) && {
            tile_map: (maps ? seen.tile_features : projected.tile_map) as OnnxTensor,
          }),
        });
        table.push(regions.region_features as OnnxTensor);
      }
    }
    const data = new Float32Array(batch.size * batch.length * width);
    // The table's parts one after another; what reads beyond the last is padding and stays 0.
    let first = 0;
    for (const part of table) {
      const rows = part.data.length / width;
      for (const [at, row] of batch.source.data.entries()) {
        if (row < first || row >= first + rows) continue;
        data.set(part.data.subarray((row - first) * width, (row - first + 1) * width), at * width);
      }
      first += rows;
    }
    return { data, shape: [batch.size, batch.length, width], type: 'float32' };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map(session => session.close()));
  }

  /** Runs the decoder on new positions and picks one row of scores a sample. */
  async #decode(embeddings: OnnxTensor, cache: Cache, rows: readonly number[]): Promise<[Scored, Cache]> {
    const [batch = 0, length = 0] = embeddings.shape;
    const [logits, after] = await this.#logits(embeddings, cache);
    const words = logits.shape[2] ?? 0;
    const scores = new Float32Array(batch * words);
    for (const [b, row] of rows.entries()) {
      const start = (b * length + row) * words;
      scores.set(logits.data.subarray(start, start + words), b * words);
    }
    return [{ rows: batch, words, scores }, after];
  }

  /** Runs the decoder on new positions [B, T, hidden_size]: scores of all of them [B, T, vocab_size], and the cache with them. */
  async #logits(embeddings: OnnxTensor, cache: Cache): Promise<[OnnxTensor, Cache]> {
    const { lengths, padded, decoded, past } = cache;
    const [batch = 0, length = 0] = embeddings.shape;
    const isPrompt = padded === 0;
    const before = padded + decoded;
    const visible = (b: number, slot: number): boolean =>
      slot < (isPrompt ? length : padded) ? slot < (lengths[b] ?? 0) : true;
    const position = (b: number, t: number): number => (isPrompt ? t : (lengths[b] ?? 0) + decoded);
    const results = await this.#run('decoder_model_merged', {
      inputs_embeds: embeddings,
      attention_mask: grid(batch, before + length, (b, slot) => (visible(b, slot) ? 1 : 0)),
      position_ids: grid(batch, length, position),
      ...past,
    });
    const kept: Record<string, OnnxTensor> = {};
    for (let i = 0; i < this.config.llm.num_hidden_layers; i++) {
      for (const what of ['key', 'value'] as const) {
        kept[pastName(i, what)] = results[presentName(i, what)] as OnnxTensor;
      }
    }
    const place = isPrompt ? { padded: length, decoded: 0 } : { padded, decoded: decoded + 1 };
    return [results.logits as OnnxTensor, { past: kept, lengths, ...place }];
  }

  async #embedded(ids: Int32Array, shape: readonly number[]): Promise<OnnxTensor> {
    const input_ids: OnnxInput = { data: BigInt64Array.from(ids, BigInt), shape, type: 'int64' };
    return (await this.#run('embed_tokens', { input_ids })).inputs_embeds as OnnxTensor;
  }

  #emptyPast(batch: number): Record<string, OnnxTensor> {
    const { num_hidden_layers: blocks, num_key_value_heads: heads, head_dim: width } = this.config.llm;
    const empty = { data: new Float32Array(0), shape: [batch, heads, 0, width], type: 'float32' } as const;
    const past: Record<string, OnnxTensor> = {};
    for (let i = 0; i < blocks; i++) {
      past[pastName(i, 'key')] = empty;
      past[pastName(i, 'value')] = empty;
    }
    return past;
  }

  #run(part: PartName, inputs: Readonly<Record<string, OnnxInput>>): Promise<Record<string, OnnxTensor>> {
    return (this.#sessions.get(part) as OnnxSession).run(inputs);
  }
}

function grid(rows: number, columns: number, value: (row: number, column: number) => number): OnnxInput {
  const data = new BigInt64Array(rows * columns);
  for (let i = 0; i < data.length; i++) data[i] = BigInt(value(Math.floor(i / columns), i % columns));
  return { data, shape: [rows, columns], type: 'int64' };
}

function regionFeeds(geometry: RegionGeometry): Record<string, OnnxTensor> {
  const feeds: Record<string, OnnxTensor> = {
    global_rows: pairRows(ints(geometry.globalRows)),
    global_weights: pairRows(floats(geometry.globalWeights)),
    tile_rows: pairRows(ints(geometry.localRows)),
    tile_weights: pairRows(floats(geometry.localWeights)),
  };
  for (const [b, { points, anchors, neighbors }] of sampledBlocks(geometry).entries()) {
    feeds[`points.${b}`] = floats(points);
    feeds[`anchors.${b}`] = ints(anchors);
    feeds[`neighbors.${b}`] = ints(neighbors);
  }
  return feeds;
}

/** [regions, points, 4] -> [regions · points, 4]. */
function pairRows(tensor: OnnxTensor): OnnxTensor {
  return { ...tensor, shape: [tensor.data.length / 4, 4] };
}

function floats({ data, shape }: Floats): OnnxTensor {
  return { data, shape, type: 'float32' };
}

function ints({ data, shape }: Ints): OnnxTensor {
  return { data, shape, type: 'int32' };
}
