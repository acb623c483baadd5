import { collate } from '../data/collate.ts';
import type { Conversation } from '../data/conversation.ts';
import type { ImageRecord } from '../data/record.ts';
import { prepareSample, type Sample, type SampleContext } from '../data/sample.ts';
import { renderScene } from '../data/sources/scenes.ts';
import { taskContext } from '../data/tasks/context.ts';
import { conversationOf } from '../data/tasks/index.ts';
import { GroundError } from '../errors.ts';
import type { ConversationBatch } from '../models/batch.ts';

/** Scenes tried until one has an object to ask about and fits the sequence. */
const SCENES = 20;

/**
 * Several pictures as `exampleBatch` makes one, each with a question that is still to be answered, in one batch.
 *
 * @param longest positions that a prompt and what is decoded after it may take
 */
export async function examplePrompts(
  context: SampleContext,
  longest: number,
  count: number,
): Promise<ConversationBatch> {
  const samples: Sample[] = [];
  for (let index = 0; index < SCENES && samples.length < count; index++) {
    const record = await renderScene(0, index, { split: 'export' });
    const conversation = conversationOf(record, 'reg', taskContext({ rounds: 1 + (index % 2) }));
    if (!conversation) continue;
    const sample = await prepareOrNull(record, conversation, context, true);
    if (sample && collate([sample], context.model, { buckets: false }).length <= longest)
      samples.push(sample);
  }
  if (samples.length === 0) throw noExample(longest);
  return collate(samples, context.model, { buckets: false });
}

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
    const sample = await prepareOrNull(record, conversation, context, false);
    if (!sample) continue;
    const batch = collate([sample], context.model, { buckets: false });
    if (batch.length <= longest) return batch;
  }
  throw noExample(longest);
}

/** Null where the sample is too long for the model: another scene has fewer tiles or a shorter question. */
async function prepareOrNull(
  record: ImageRecord,
  conversation: Conversation,
  context: SampleContext,
  prompt: boolean,
): Promise<Sample | null> {
  try {
    return await prepareSample(record, conversation, context, { prompt });
  } catch (thrown) {
    if (thrown instanceof GroundError && thrown.code === 'data') return null;
    throw thrown;
  }
}

function noExample(longest: number): GroundError {
  return new GroundError('export', `no example fits ${longest} positions`, {
    hint: 'export with a larger --length, or with --no-check',
  });
}
