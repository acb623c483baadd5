import { collate } from '../data/collate.ts';
import { prepareSample, type SampleContext } from '../data/sample.ts';
import { renderScene } from '../data/sources/scenes.ts';
import { taskContext } from '../data/tasks/context.ts';
import { conversationOf } from '../data/tasks/index.ts';
import { GroundError } from '../errors.ts';
import type { ConversationBatch } from '../models/batch.ts';

/** Scenes tried until one has an object to ask about and fits the sequence. */
const SCENES = 20;

/**
 * A picture with a question about some of its regions and the answer, as the model is trained on them: a rendered
 * scene, so that no dataset is needed.
 *
 * @param longest positions that the exported network takes
 * @throws GroundError('export') when none of the first scenes fits
 */
export async function exampleBatch(context: SampleContext, longest: number): Promise<ConversationBatch> {
  for (let index = 0; index < SCENES; index++) {
    const record = await renderScene(0, index, { split: 'export' });
    const conversation = conversationOf(record, 'reg', taskContext({ rounds: 2 }));
    if (!conversation) continue;
    try {
      const sample = await prepareSample(record, conversation, context);
      const batch = collate([sample], context.model, { buckets: false });
      if (batch.length <= longest) return batch;
    } catch (thrown) {
      // Too long for the model: another scene has fewer tiles or a shorter question.
      if (!(thrown instanceof GroundError) || thrown.code !== 'data') throw thrown;
    }
  }
  throw new GroundError('export', `no example fits ${longest} positions`, {
    hint: 'export with a larger --length, or with --no-check',
  });
}
