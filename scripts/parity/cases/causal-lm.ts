import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import type { LlamaConfig } from '../../../src/models/config.ts';
import { decodeNext, prefillPrompts, releaseCache } from '../../../src/models/decoding.ts';
import { Llama } from '../../../src/models/llama.ts';
import { causalKeyBias } from '../../../src/nn/attention.ts';
import { crossEntropy } from '../../../src/nn/cross-entropy.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { activation } from '../config.ts';
import { loadWeights, Results } from '../results.ts';

/** Where transformers keeps the rotary embedding's settings; other types than the plain one are no part of ground. */
const rope = z.object({ rope_theta: z.number().optional(), rope_type: z.literal('default').optional() });

const hubConfig = z.object({
  model_type: z.enum(['llama', 'qwen2']),
  vocab_size: z.number(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  num_key_value_heads: z.number(),
  head_dim: z.number().nullish(),
  rms_norm_eps: z.number(),
  rope_theta: z.number().optional(),
  rope_parameters: rope.nullish(),
  rope_scaling: rope.nullish(),
  hidden_act: activation,
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean(),
  max_position_embeddings: z.number(),
});

function llamaConfig(json: unknown): LlamaConfig {
  const { model_type, head_dim, rope_parameters, rope_scaling, ...rest } = hubConfig.parse(json);
  const qwen2 = model_type === 'qwen2';
  return {
    ...rest,
    head_dim: head_dim ?? rest.hidden_size / rest.num_attention_heads,
    rope_theta: rest.rope_theta ?? rope_parameters?.rope_theta ?? rope_scaling?.rope_theta ?? 10000,
    // Qwen2 always has biases on its inputs; its configuration does not say so. Llama has all four or none.
    attention_bias: qwen2 || rest.attention_bias,
    attention_output_bias: !qwen2 && rest.attention_bias,
  };
}

/** LlamaForCausalLM or Qwen2ForCausalLM: logits, loss, gradients, two kinds of positions, greedy generation. */
export function runCausalLm(fixture: FixtureCase): Results {
  const results = new Results();
  const tree = new ParameterTree();
  const model = new Llama(tree.root, llamaConfig(fixture.config));
  loadWeights(tree, fixture);
  const ids = input(fixture, 'in.input_ids');
  const [batch = 0, length = 0] = ids.shape;
  const { hidden_size: width, vocab_size: words } = model.config;
  const default_ = Int32Array.from({ length: batch * length }, (_, i) => i % length);
  const next = shiftedLabels(input(fixture, 'in.labels').data, length);
  tf.tidy(() => {
    const bias = causalKeyBias(tensorOf(input(fixture, 'in.attention_mask')) as tf.Tensor2D);
    const lookup = tf.tensor1d(Int32Array.from(ids.data), 'int32');
    const embedded = model.embed(lookup);
    const targets = tf.tensor1d(next.targets, 'int32');
    const weights = tf.tensor1d(next.weights);
    const states = (positions: ArrayLike<number>, x: tf.Tensor2D) =>
      model.decode(x, { batch, rotary: model.rotary(positions, batch), bias }).states;
    const lastOf = (positions: ArrayLike<number>, x: tf.Tensor2D): tf.Tensor2D => {
      const all = states(positions, x);
      return model.normalized(all[all.length - 1] as tf.Tensor2D);
    };
    const loss = (positions: ArrayLike<number>, x: tf.Tensor2D): tf.Scalar => {
      const losses = crossEntropy(model.logits(lastOf(positions, x)), targets);
      return tf.div(tf.sum(tf.mul(losses, weights)), tf.sum(weights));
    };
    const hidden = states(default_, embedded);
    for (const [i, state] of hidden.entries()) {
      const shown = i === hidden.length - 1 ? model.normalized(state) : tf.clone(state);
      results.add(`out.hidden_states.${i}`, shown, [batch, length, width]);
    }
    const logits = (positions: ArrayLike<number>): tf.Tensor => model.logits(lastOf(positions, embedded));
    const own = input(fixture, 'in.position_ids').data;
    results.add('out.logits', logits(default_), [batch, length, words]);
    results.add('out.pos.logits', logits(own), [batch, length, words]);
    results.add('out.pos.loss', loss(own, embedded));
    // Parameters through the lookup; then the gradient of the embeddings themselves.
    results.addGradients(() => loss(default_, model.embed(lookup)), tree, {});
    const [gradient] = tf.engine().gradients(() => loss(default_, embedded), [embedded]).grads;
    results.add('grad.in.inputs_embeds', gradient as tf.Tensor, [batch, length, width]);
  });
  generate(model, fixture, results);
  tree.dispose();
  return results;
}

/** Row t predicts the label at t + 1 of the same sequence; -100 and the last row predict nothing. */
function shiftedLabels(labels: ArrayLike<number>, length: number) {
  const targets = new Int32Array(labels.length);
  const weights = new Float32Array(labels.length);
  for (let i = 0; i < labels.length; i++) {
    const label = i % length === length - 1 ? -100 : (labels[i + 1] ?? -100);
    targets[i] = Math.max(label, 0);
    weights[i] = label === -100 ? 0 : 1;
  }
  return { targets, weights };
}

/** Greedy decoding with the cache. The fixture pads prompts on the left, the decoder on the right: move the tokens. */
function generate(model: Llama, fixture: FixtureCase, results: Results): void {
  const ids = input(fixture, 'in.gen_input_ids');
  const visible = input(fixture, 'in.gen_attention_mask').data;
  const [batch = 0, length = 0] = ids.shape;
  const [steps = 0, , words = 0] = input(fixture, 'out.gen_logits').shape;
  const promptOf = (b: number): number[] => Array.from(ids.data.subarray(b * length, (b + 1) * length));
  const rows = Array.from({ length: batch }, (_, b) =>
    promptOf(b).filter((_, t) => visible[b * length + t] === 1),
  );
  const padded = rows.flatMap(row => [...row, ...new Array<number>(length - row.length).fill(0)]);
  const embeddings = tf.tidy(() => model.embed(tf.tensor1d(padded, 'int32')));
  let step = prefillPrompts(
    model,
    embeddings,
    rows.map(row => row.length),
  );
  embeddings.dispose();
  const generated: number[][] = rows.map((_, b) => promptOf(b));
  const scores = new Float32Array(steps * batch * words);
  for (let i = 0; i < steps; i++) {
    scores.set(step.logits.dataSync(), i * batch * words);
    const best = tf.tidy(() => tf.argMax(step.logits, 1)) as tf.Tensor1D;
    best.dataSync().forEach((token, b) => {
      generated[b]?.push(token);
    });
    step.logits.dispose();
    step = decodeNext(model, best, step.cache);
    best.dispose();
  }
  step.logits.dispose();
  releaseCache(step.cache);
  results.set('out.gen_logits', [steps, batch, words], scores);
  results.set('out.gen_sequences', [batch, length + steps], Int32Array.from(generated.flat()));
}
