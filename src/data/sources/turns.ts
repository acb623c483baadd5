/**
 * The turns of a conversation as LLaVA and its kin write them: [{from: "human", value: "<image>\nWhat is this?"}, …],
 * or with the keys role and content.
 */

/** One message. `index` is its place in the file's list: what Ferret's boxes go by. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly text: string;
  readonly index: number;
}

const ROLES: Readonly<Record<string, Turn['role']>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  model: 'assistant',
  system: 'system',
};

const IMAGE = '<image>';

/** The turns of a sample's list, or why there are none, in the words of a report. */
export function turnsOf(conversations: unknown): Turn[] | string {
  if (!Array.isArray(conversations)) return 'sample without a list of turns';
  const turns: Turn[] = [];
  for (const [index, value] of conversations.entries()) {
    if (typeof value !== 'object' || value === null) return 'turn that is no object';
    const name: unknown = value.from ?? value.role;
    const text: unknown = value.value ?? value.content;
    const role = typeof name === 'string' ? ROLES[name.toLowerCase()] : undefined;
    if (role === undefined) return 'turn of somebody who is neither user, assistant nor system';
    if (typeof text !== 'string') return 'turn without text';
    turns.push({ role, text: text.replace(/\r\n?/g, '\n'), index });
  }
  return turns;
}

/** How many images the turns speak of. */
export function placeholdersOf(turns: readonly Turn[]): number {
  return turns.reduce((sum, { text }) => sum + text.split(IMAGE).length - 1, 0);
}

/**
 * The turns without image placeholders: the image itself is shown before the first question, wherever its placeholder
 * stood, as LLaVA's trainer does. The blanks around it go with it, but for one line end or blank between words.
 */
export function withoutPlaceholders(turns: readonly Turn[]): Turn[] {
  return turns.map(turn => ({
    ...turn,
    text: turn.text
      .replace(/^\s*(?:<image>\s*)+|(?:\s*<image>)+\s*$/g, '')
      .replace(/\s*<image>\s*/g, blanks => (blanks.includes('\n') ? '\n' : ' ')),
  }));
}
