import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { input, readCase } from '../../scripts/parity/case.ts';
import { loadWeights } from '../../scripts/parity/results.ts';
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import type { LlamaConfig } from '../../src/models/config.ts';
import {
  type DecodeStep,
  decodeNext,
  type PrefillOptions,
  prefillPrompts,
  releaseCache,
} from '../../src/models/decoding.ts';
import { Llama } from '../../src/models/llama.ts';
import { ParameterTree } from '../../src/nn/parameter.ts';
import { Random } from '../../src/random.ts';
import { expectClose } from '../helpers/numbers.ts';
import { tinyConfig } from '../helpers/tiny-ferret.ts';

const config: LlamaConfig = { ...tinyConfig.llm, max_position_embeddings: 256 };

/** Rows of `width` numbers for the prompts, what is not in use filled with other numbers: nothing may depend on them. */
function padded(rows: readonly tf.Tensor2D[], length: number, padding: 'left' | 'right'): tf.Tensor2D {
  return tf.tidy(() => {
    const parts = rows.flatMap((row, b) => {
      const [used, width] = row.shape;
      if (used === length) return [row];
      const noise = tf.randomNormal([length - used, width], 0, 3, 'float32', b + 1) as tf.Tensor2D;
      return padding === 'left' ? [noise, row] : [row, noise];
    });
    return tf.concat(parts, 0);
  });
}

/** The scores of the next token after each row, by one pass over it without padding, cache or batch. */
function uncached(llm: Llama, row: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const length = row.shape[0];
    const { states } = llm.decode(row, llm.sequence(1, length));
    const last = tf.slice(states[states.length - 1] as tf.Tensor2D, [length - 1, 0], [1, -1]);
    return llm.logits(llm.normalized(last));
  });
}

describe.each(['auto', 'wasm'] as const)('decoding with a cache, engine %s', engine => {
  beforeAll(async () => {
    await startEngine({ engine, device: 'cpu' });
  });

  const variants: (PrefillOptions & { name: string })[] = [
    { name: 'padding on the right, a growing cache', padding: 'right' },
    { name: 'padding on the left, a growing cache', padding: 'left' },
    { name: 'padding on the right, a cache with room', padding: 'right', room: 7 },
    { name: 'padding on the left, a cache with room', padding: 'left', room: 40 },
  ];
  it.each(variants)('scores what a whole pass scores: $name', ({ name, ...options }) => {
    const random = new Random('lengths', name);
    const tree = new ParameterTree();
    const llm = new Llama(tree.root, config);
    tree.allocate(3);
    const functions = new CompiledFunctions();
    for (let round = 0; round < 4; round++) {
      const batch = random.int(1, 5);
      const lengths = Array.from({ length: batch }, () => random.int(1, 40));
      const before = tf.memory().numTensors;
      let rows = lengths.map((length, b) => {
        return tf.randomNormal([length, config.hidden_size], 0, 1, 'float32', 100 * round + b) as tf.Tensor2D;
      });
      const prompts = padded(rows, Math.max(...lengths) + random.int(0, 3), options.padding ?? 'right');
      let step: DecodeStep = prefillPrompts(llm, prompts, lengths, options);
      prompts.dispose();
      for (let i = 0; i < 6; i++) {
        for (const [b, row] of rows.entries()) {
          tf.tidy(() => expectClose(tf.slice(step.logits, [b, 0], [1, -1]), uncached(llm, row), 2e-5));
        }
        step.logits.dispose();
        const said = tf.tensor1d(
          lengths.map(() => random.int(0, config.vocab_size)),
          'int32',
        );
        step = decodeNext(llm, said, step.cache, functions);
        rows = rows.map((row, b) => {
          const longer = tf.tidy(() => tf.concat([row, llm.embed(tf.slice(said, b, 1))], 0));
          row.dispose();
          return longer;
        });
        said.dispose();
      }
      step.logits.dispose();
      releaseCache(step.cache);
      tf.dispose(rows);
      expect(tf.memory().numTensors).toBe(before);
    }
    functions.dispose();
    tree.dispose();
  });

  it('refuses a token for which there is no room', () => {
    const tree = new ParameterTree();
    const llm = new Llama(tree.root, config);
    tree.allocate(3);
    const prompt = tf.zeros([4, config.hidden_size]) as tf.Tensor2D;
    let step = prefillPrompts(llm, prompt, [4], { room: 1 });
    const said = tf.tensor1d([1], 'int32');
    const decode = (): void => {
      // Rooms are rounded up: 32 tokens are far more than the one that was asked for.
      for (let i = 0; i <= 32; i++) {
        step.logits.dispose();
        step = decodeNext(llm, said, step.cache);
      }
    };
    if (tensorflowBackend()) expect(decode).toThrow('no room');
    else expect(decode).not.toThrow();
    releaseCache(step.cache);
    tree.dispose();
  });
});

/** Keys of Hugging Face's config.json that the fixtures' models share with ours. */
interface HubConfig extends Omit<LlamaConfig, 'head_dim'> {
  readonly model_type: string;
  readonly head_dim?: number | null;
  readonly rope_parameters?: { readonly rope_theta?: number } | null;
}

describe.each(['auto', 'wasm'] as const)('greedy generation, engine %s', engine => {
  beforeAll(async () => {
    await startEngine({ engine, device: 'cpu' });
  });

  it.each(['llama', 'qwen2'])(
    'of %s equals transformers, prompts padded on the left as they come',
    async name => {
      const fixture = await readCase(fileURLToPath(new URL(`../fixtures/parity/${name}`, import.meta.url)));
      const hub = fixture.config as HubConfig;
      const tree = new ParameterTree();
      const llm = new Llama(tree.root, {
        ...hub,
        head_dim: hub.head_dim ?? hub.hidden_size / hub.num_attention_heads,
        rope_theta: hub.rope_theta ?? hub.rope_parameters?.rope_theta ?? 10000,
        attention_bias: hub.model_type === 'qwen2' || hub.attention_bias === true,
      });
      loadWeights(tree, fixture);
      const ids = input(fixture, 'in.gen_input_ids');
      const mask = input(fixture, 'in.gen_attention_mask').data;
      const wanted = input(fixture, 'out.gen_sequences');
      const [batch = 0, length = 0] = ids.shape;
      const total = wanted.shape[1] ?? 0;
      const lengths = Array.from({ length: batch }, (_, b) =>
        [...mask.subarray(b * length, (b + 1) * length)].reduce((sum, used) => sum + Number(used), 0),
      );
      expect(Math.min(...lengths)).toBeLessThan(length);
      const embeddings = tf.tidy(() => llm.embed(tf.tensor1d(Int32Array.from(ids.data), 'int32')));
      const functions = new CompiledFunctions();
      let step = prefillPrompts(llm, embeddings, lengths, { padding: 'left', room: total - length });
      const said: number[][] = lengths.map(() => []);
      for (let i = length; i < total; i++) {
        const best = tf.tidy(() => tf.argMax(step.logits, 1)) as tf.Tensor1D;
        best.dataSync().forEach((token, b) => {
          said[b]?.push(token);
        });
        step.logits.dispose();
        step = decodeNext(llm, best, step.cache, functions);
        best.dispose();
      }
      const rows = said.map((_, b) =>
        [...wanted.data.subarray(b * total + length, (b + 1) * total)].map(Number),
      );
      expect(said).toEqual(rows);
      releaseCache(step.cache);
      functions.dispose();
      tree.dispose();
    },
  );
});
