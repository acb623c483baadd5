/** docs/ablation.md, written from the results alone. Pure. */
import { standing } from './chart.ts';
import { CLAIMS, type Claim } from './paper.ts';
import { type Job, SCENES } from './plan.ts';
import { MEASURES, type Results } from './results.ts';
import type { Summary } from './statistics.ts';
import { FULL, VARIANTS } from './variants.ts';

type Row = Results['variants'][number];

/** The whole page. `jobs`: all commands, those of the first seed are shown. */
export function documentOf(results: Results, jobs: readonly Job[]): string {
  const { settings, variants } = results;
  const [stage0, stage1, stage2, stage3] = settings.steps;
  const [baseline] = variants.filter(({ name }) => name === FULL.name);
  return `# Ablation: Ferret-v2's findings at small scale

\`npm run ablation\` writes this page, [ablation.json](ablation.json) and the plot from what it has measured. Nothing here is
edited by hand.

![The full method and its variants](ablation.png)

## What is compared

A full method, and variants that differ from it in exactly one thing. The recipe is [configs/ablation](../configs/ablation), a model
of 1.1 million parameters; scenes are rendered (\`ground data synth ${SCENES.join(' ')}\`): objects of a sixth to half of
the side, of which the low-resolution view of the whole image (32×32) shows a small one with about five pixels across, the 2×2 tiles
with twice as many. Small objects are those below a sixth of the image's side (root of the area).

${table(
  ['variant', 'differs from the full method in'],
  VARIANTS.filter(({ name }) => variants.some(row => row.name === name)).map(({ title, differs }) => [
    title,
    differs,
  ]),
)}

Each of ${settings.seeds} seeds has its own ${settings.scenes.train} training scenes, its own first weights and order of samples, and
its own ${settings.scenes.heldOut} held-out scenes with at most ${settings.questions} questions a task, which are the same for all
variants. Stages take ${stage0}, ${stage1}, ${stage2} and ${stage3} steps. Stages 0 and 1 are trained once a seed and shared: no
variant differs there. Stage 0 stands for published weights: both encoders learn from captions and phrases of scenes, CLIP on the
whole image, "DINOv2" on tiles; so the local encoder has DINOv2's build, but was pretrained as the other was.

Intervals (95 %) are a bootstrap over seeds and, within each, over images; differences are paired, on the same draws. With
${settings.seeds} seeds the spread between seeds is known badly, and such intervals are rather too narrow.

## Scores

Share of right answers in per cent: REC by the first box at IoU 0.5, ROC by the name out of two (50 is chance), by point, box and
free-form region.

${scoreTable(results)}

The score minus that of the full method, in points:

${differenceTable(results)}

Each seed by itself (${Array.from({ length: settings.seeds }, (_, i) => i + 1).join(', ')}):

${seedTable(results)}

## Beside the paper

The paper's numbers are for 7 billion parameters and photographs; what can agree is the sign. A finding agrees here where the
interval of the difference lies on its side of 0, and is open where 0 lies inside it.

${CLAIMS.flatMap(claim => section(claim, results, baseline)).join('\n\n')}

In the paper's tables every row adds one thing to the row before (any resolution, then DINOv2, then stage 2); here one thing is taken
from the whole.

## Again

\`\`\`bash
npm run ablation -- --dry-run      # what would be run, and how long it takes
npm run ablation -- --jobs 2       # goes on where it was stopped; what is finished is not run again
\`\`\`

Each run is an ordinary command on one thread (\`GROUND_THREADS=1\`). Those of the first seed:

\`\`\`bash
${jobs
  .filter(({ id }) => id.startsWith('1-'))
  .map(({ args }) => `npx ground ${args.map(quoted).join(' ')}`)
  .join('\n')}
\`\`\`
`;
}

function scoreTable({ variants }: Results): string {
  return table(
    ['variant', ...MEASURES.map(({ title }) => title)],
    variants.map(({ title, scores }) => [
      title,
      ...MEASURES.map(({ name }) => {
        const summary = scores[name];
        return summary
          ? `${percent(summary.mean)} (${percent(summary.low)} to ${percent(summary.high)})`
          : '';
      }),
    ]),
    [`questions`, ...MEASURES.map(({ name }) => `${variants[0]?.scores[name]?.questions ?? 0}`)],
  );
}

function differenceTable({ variants }: Results): string {
  return table(
    ['variant', ...MEASURES.map(({ title }) => title)],
    variants
      .filter(({ name }) => name !== FULL.name)
      .map(({ title, scores }) => [title, ...MEASURES.map(({ name }) => differenceText(scores[name]))]),
  );
}

function seedTable({ variants }: Results): string {
  return table(
    ['variant', ...MEASURES.map(({ title }) => title)],
    variants.map(({ title, scores }) => [
      title,
      ...MEASURES.map(({ name }) => (scores[name]?.seeds ?? []).map(percent).join(', ')),
    ]),
  );
}

function section(
  { variant, ahead, paper, measures }: Claim,
  { variants }: Results,
  baseline: Row | undefined,
): string[] {
  const row = variants.find(({ name }) => name === variant);
  if (!row || !baseline) return [];
  const lines = measures.flatMap(name => {
    const [own, full] = [row.scores[name], baseline.scores[name]];
    if (!own?.difference || !full) return [];
    const title = MEASURES.find(measure => measure.name === name)?.title ?? name;
    const { difference, low, high } = own.difference;
    const [from, to, ...gain] =
      ahead === 'full' ? [own, full, -difference, -high, -low] : [full, own, difference, low, high];
    const [points, least, most] = gain.map(signed);
    return [
      `- ${title}: ${percent(from.mean)} to ${percent(to.mean)}, ${points} points (${least} to ${most}): ${verdict(own, ahead)}`,
    ];
  });
  return [
    [
      `**${row.title}.** ${paper}.\n\nHere, from ${ahead === 'full' ? 'the variant to the full method' : 'the full method to the variant'}:\n`,
      ...lines,
    ].join('\n'),
  ];
}

/** What a variant's measure says about a finding that has one of the two ahead. */
export function verdict(summary: Summary, ahead: Claim['ahead']): string {
  const found = standing(summary);
  if (found === 'same') return 'open';
  return (found === 'worse') === (ahead === 'full') ? '**agrees**' : '**disagrees**';
}

function differenceText(summary: Summary | undefined): string {
  if (!summary?.difference) return '';
  const { difference, low, high } = summary.difference;
  const text = `${signed(difference)} (${signed(low)} to ${signed(high)})`;
  return standing(summary) === 'same' ? text : `**${text}**`;
}

function table(
  head: readonly string[],
  ...parts: readonly (readonly string[] | readonly (readonly string[])[])[]
): string {
  const rows = parts.flatMap(part =>
    typeof part[0] === 'string' ? [part as readonly string[]] : (part as readonly (readonly string[])[]),
  );
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}

function signed(share: number): string {
  const text = (100 * share).toFixed(1);
  return Number(text) > 0 ? `+${text}` : text;
}

function quoted(arg: string): string {
  return /^[\w./=:,+-]+$/.test(arg) ? arg : `'${arg}'`;
}
