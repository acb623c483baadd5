/** Our side of the benchmark of decoding: prompts of one sample, then one token at a time, the most likely. */
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { decodeNext, prefillPrompts, releaseCache } from '../../src/models/decoding.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { weightArrays, writeArrays } from './arrays.ts';
import { decodeRequest } from './decode-protocol.ts';
import { named, readShapes } from './shapes.ts';
import { serve, THREADS } from './side.ts';

await startEngine({ device: 'cpu', threads: THREADS });
const shapes = readShapes();
const { prompt, tokens } = shapes.decode;
const model = new Ferret(named(shapes.models, shapes.decode.model).model);
model.parameters.allocate(shapes.seed);
const functions = new CompiledFunctions();

/** Reading the prompt is not timed. */
function run(): { ids: number[]; seconds: number } {
  const words = model.config.llm.vocab_size;
  const ids: number[] = [];
  const embeddings = tf.tidy(() =>
    model.llm.embed(
      tf.tensor1d(
        Array.from({ length: prompt }, (_, i) => (i * 37) % words),
        'int32',
      ),
    ),
  );
  let step = prefillPrompts(model.llm, embeddings, [prompt], { room: tokens });
  embeddings.dispose();
  const began = performance.now();
  for (let i = 0; i < tokens; i++) {
    const best = tf.tidy(() => tf.argMax(step.logits, 1).dataSync()[0] ?? 0);
    ids.push(best);
    step.logits.dispose();
    const next = tf.tensor1d([best], 'int32');
    step = decodeNext(model.llm, next, step.cache, functions);
    next.dispose();
  }
  const seconds = (performance.now() - began) / 1000;
  step.logits.dispose();
  releaseCache(step.cache);
  return { ids, seconds };
}

await serve(async request => {
  const asked = decodeRequest.parse(request);
  if (asked.do === 'run') return run();
  writeArrays(asked.folder, 'weights', weightArrays(model));
  return {};
});
