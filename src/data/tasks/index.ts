/** Every conversation task by name, and the way from a record to a conversation. */
import { GroundError } from '../../errors.ts';
import type { Conversation } from '../conversation.ts';
import type { Annotations } from '../record.ts';
import { caption } from './caption.ts';
import { type Task, type TaskContext, taskRandom } from './context.ts';
import { count } from './count.ts';
import { denseDetection } from './dense-detection.ts';
import { denseReferring } from './dense-referring.ts';
import { groundedCaption } from './grounded-caption.ts';
import { groundedCount } from './grounded-count.ts';
import type { TaskName } from './names.ts';
import { negatives } from './negatives.ts';
import { ocr } from './ocr.ts';
import { phraseGrounding } from './phrase-grounding.ts';
import { rec } from './rec.ts';
import { reg } from './reg.ts';
import { relation } from './relation.ts';
import { roc } from './roc.ts';
import { sceneText } from './scene-text.ts';
import { conversation, presence, textConversation, vqa } from './stored.ts';

/** Tasks that make conversations: all but `contrastive`. */
export type ConversationTask = Exclude<TaskName, 'contrastive'>;

const TASKS: Readonly<Record<ConversationTask, Task>> = {
  'scene-text': sceneText,
  caption,
  'dense-referring': denseReferring,
  'dense-detection': denseDetection,
  rec,
  reg,
  roc,
  relation,
  count,
  ocr,
  'grounded-caption': groundedCaption,
  'phrase-grounding': phraseGrounding,
  negatives,
  'grounded-count': groundedCount,
  conversation,
  'text-conversation': textConversation,
  vqa,
  presence,
};

/**
 * A conversation about a record, or null where the record cannot serve the task. Pure: equal arguments, equal
 * conversation. Throws `config` for `contrastive`, which makes pairs instead.
 */
export function conversationOf(
  record: Annotations,
  task: TaskName,
  context: TaskContext,
): Conversation | null {
  if (task === 'contrastive') {
    throw new GroundError('config', 'the contrastive task makes no conversations', {
      hint: 'choose another task, or let the loader build contrastive batches',
    });
  }
  return TASKS[task](record, context, taskRandom(context, task, record));
}
