/**
 * Every fixed text that the words of the tiny recipe's tokenizer were taken from: all but those of annotated conversations
 * and the answer that something is absent, whose words reach that tokenizer as bytes.
 */
import { CAPTION_QUESTIONS } from './caption.ts';
import { COUNT_QUESTIONS } from './count.ts';
import { DENSE_DETECTION_ANSWER, DENSE_DETECTION_QUESTIONS } from './dense-detection.ts';
import { DENSE_REFERRING_ANSWER, DENSE_REFERRING_QUESTIONS } from './dense-referring.ts';
import { GROUNDED_CAPTION_QUESTIONS } from './grounded-caption.ts';
import { GROUNDED_COUNT_QUESTIONS } from './grounded-count.ts';
import { READ_ALL_QUESTIONS, READ_REGION_QUESTIONS } from './ocr.ts';
import { PHRASE_GROUNDING_QUESTIONS } from './phrase-grounding.ts';
import { REC_QUESTIONS } from './rec.ts';
import { REG_QUESTIONS } from './reg.ts';
import { RELATED_QUESTIONS, RELATION_QUESTIONS } from './relation.ts';
import { ROC_QUESTIONS } from './roc.ts';
import { SCENE_INTRODUCTION } from './scene-text.ts';

/** Ferret-v2's prompt for answers that carry boxes (arXiv 2404.07973, section 3.4). */
export const GROUNDING_PROMPT = 'Include the coordinates for each mentioned object.';

export const PHRASINGS: readonly string[] = [
  ...CAPTION_QUESTIONS,
  ...COUNT_QUESTIONS,
  ...DENSE_DETECTION_QUESTIONS,
  DENSE_DETECTION_ANSWER,
  ...DENSE_REFERRING_QUESTIONS,
  DENSE_REFERRING_ANSWER,
  ...GROUNDED_CAPTION_QUESTIONS,
  ...GROUNDED_COUNT_QUESTIONS,
  ...PHRASE_GROUNDING_QUESTIONS,
  ...READ_ALL_QUESTIONS,
  ...READ_REGION_QUESTIONS,
  ...REC_QUESTIONS,
  ...REG_QUESTIONS,
  ...RELATED_QUESTIONS,
  ...RELATION_QUESTIONS,
  ...ROC_QUESTIONS,
  SCENE_INTRODUCTION,
  GROUNDING_PROMPT,
];
