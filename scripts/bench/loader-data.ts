/** What the loader benchmark loads: JPEGs of everyday sizes, captions, and the text of each sample for the other side. */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { loadRecipe } from '../../src/config/load.ts';
import { type Candidates, openCandidates } from '../../src/data/candidates.ts';
import type { LoaderStage } from '../../src/data/producer.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { resize } from '../../src/data/resample.ts';
import { renderOf } from '../../src/data/sample.ts';
import { writeShards } from '../../src/data/shards.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Random } from '../../src/random.ts';
import type { LoaderSpec } from './spec.ts';

const RECIPE = new URL('../../configs/ferret-v2-tiny', import.meta.url).pathname;

const SHARDS = 'shards';

/** The tiny recipe's model with the image sizes of a shape: nothing else of it matters to a loader. */
export function modelOf(spec: LoaderSpec, shape: string): ModelConfig {
  const { model } = loadRecipe({ recipeDir: RECIPE, stage: 2, files: 'ignore' });
  const { side, patch, grids } = spec.shapes[shape]!;
  const image = { image_size: side, patch_size: patch };
  return {
    ...model,
    image: { side, grids, resize: 'stretch' },
    global_encoder: { ...model.global_encoder, ...image },
    local_encoder: { ...model.local_encoder, ...image },
    max_length: 8192,
  };
}

/** Captions that never vary, so that the other side can be given the same texts. */
export function stageOf(spec: LoaderSpec, folder: string): LoaderStage {
  return {
    views: 'global+local',
    grounding_prompt: '',
    data: [{ dataset: join(folder, SHARDS), task: 'caption', weight: 1, vary: false }],
    batch: { samples: spec.batch, accumulate: 1 },
    steps: 1000,
    seed: spec.seed,
  };
}

/** What the other side is told of a row. */
export interface RowText {
  readonly file: string;
  /** Texts in the order they are tokenised, with the ids in between that are no text. */
  readonly parts: readonly (string | number)[];
  readonly answers: readonly (readonly [start: number, end: number])[];
}

export interface BenchData {
  readonly records: readonly ImageRecord[];
  /** Token ids of each row. */
  readonly tokens: readonly (readonly number[])[];
}

/** Writes `folder`/shards for our loader; JPEG files, tokenizer.json and rows.json for the other. */
export async function writeData(spec: LoaderSpec, folder: string): Promise<BenchData> {
  const records: ImageRecord[] = [];
  for (let i = 0; i < spec.images; i++) records.push(await recordOf(spec, i));
  await writeShards(records, join(folder, SHARDS), { builder: 'bench', source: {} });
  const model = modelOf(spec, Object.keys(spec.shapes)[0]!);
  await mkdir(join(folder, 'files'));
  for (const { id, image } of records) await writeFile(join(folder, 'files', `${id}.jpg`), image);
  await copyFile(model.tokenizer, join(folder, 'tokenizer.json'));
  const texts = await textsOf(spec, model, records);
  await writeFile(join(folder, 'rows.json'), JSON.stringify(texts.map(({ row }) => row)));
  return { records, tokens: texts.map(({ tokens }) => tokens) };
}

/** Smooth light, discs with edges, and a little noise: JPEG files as large as photographs' are. */
async function recordOf(spec: LoaderSpec, index: number): Promise<ImageRecord> {
  const random = new Random(spec.seed, 'bench image', index);
  const [width, height] = spec.sizes[index % spec.sizes.length]!;
  const coarse = { width: 9, height: 7 };
  const light = Uint8Array.from({ length: coarse.width * coarse.height * 3 }, () => random.int(20, 236));
  const { data } = resize({ ...coarse, data: light }, { width, height }, 'bicubic');
  for (let disc = 0; disc < 12; disc++) {
    const [left, top, radius] = [random.int(0, width), random.int(0, height), random.int(8, 90)];
    const colour = [random.int(0, 256), random.int(0, 256), random.int(0, 256)];
    for (let y = Math.max(top - radius, 0); y < Math.min(top + radius, height); y++) {
      const half = Math.floor(Math.sqrt(radius ** 2 - (y - top) ** 2));
      for (let x = Math.max(left - half, 0); x < Math.min(left + half, width); x++) {
        data.set(colour, (y * width + x) * 3);
      }
    }
  }
  // A table of noise, read from another place for each row, costs less than a random number a pixel.
  const noise = Float32Array.from({ length: 4099 }, () => 7 * random.normal());
  for (let i = 0; i < data.length; i++) {
    data[i] = Math.min(Math.max(data[i]! + noise[(i + 977 * Math.floor(i / width)) % noise.length]!, 0), 255);
  }
  const image = await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: spec.quality })
    .toBuffer();
  return {
    id: `image-${index}`,
    image,
    width,
    height,
    captions: [captionOf(random)],
    objects: [],
    relations: [],
  };
}

/** About sixty words of the tiny tokenizer's vocabulary. */
function captionOf(random: Random): string {
  const sizes = ['small', 'large'];
  const colours = ['red', 'green', 'blue', 'yellow', 'purple'];
  const things = ['circle', 'square', 'star', 'triangle', 'digit'];
  const thing = () => `a ${random.pick(sizes)} ${random.pick(colours)} ${random.pick(things)}`;
  const places = Array.from({ length: 8 }, () => `${thing()} left of ${thing()}`);
  return `the image shows ${places.join(' and ')}.`;
}

async function textsOf(spec: LoaderSpec, model: ModelConfig, records: readonly ImageRecord[]) {
  const source = async () => ({ rows: records.length, read: async (row: number) => records[row]! });
  const candidates = await openCandidates({ model, stage: stageOf(spec, '') }, source);
  const texts: { row: RowText; tokens: readonly number[] }[] = [];
  for (let taken = 0; taken < records.length; taken++) {
    const planned = candidates.rowOf({ source: 0, taken });
    const outcome = await candidates.conversation(planned, model.max_length);
    if (outcome.kind !== 'sample') throw new Error(`row ${planned.row} makes no sample`);
    const { conversation, rendered } = outcome.sample;
    const { id, width, height } = records[planned.row]!;
    const parts = partsOf(candidates, conversation, { id, width, height });
    const row = { file: join('files', `${id}.jpg`), parts, answers: rendered.answers };
    texts[planned.row] = { row, tokens: rendered.tokens };
  }
  await candidates.close();
  return texts;
}

type Renderable = Parameters<typeof renderOf>;

function partsOf(
  candidates: Candidates,
  conversation: Renderable[0],
  size: Renderable[1],
): (string | number)[] {
  const { tokenizer } = candidates.context;
  const encoded: { text: string; ids: number[] }[] = [];
  const noted = (encode: (text: string) => number[]) => (text: string) => {
    const ids = encode(text);
    encoded.push({ text, ids });
    return ids;
  };
  const spy = {
    ...tokenizer,
    encode: noted(tokenizer.encode),
    encodeContinuation: noted(tokenizer.encodeContinuation),
  };
  const { tokens } = renderOf(conversation, size, { ...candidates.context, tokenizer: spy }, false);
  const parts: (string | number)[] = [];
  let at = 0;
  for (const { text, ids } of encoded) {
    while (!ids.every((id, i) => tokens[at + i] === id)) parts.push(tokens[at++]!);
    parts.push(text);
    at += ids.length;
  }
  return [...parts, ...tokens.slice(at)];
}
