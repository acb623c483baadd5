import { patchLayout } from '../data/maps.ts';
import { CLIP_NORMALISATION, type Normalisation, tileNormalisation } from '../data/normalise.ts';
import type { ModelConfig } from '../models/config.ts';
import type { OnnxGraph, OnnxValue } from './onnx/builder.ts';
import { describeExtent } from './symbolic.ts';

/** What is said about an export beside its graph. */
export interface ReadmeFacts {
  readonly model: ModelConfig;
  readonly checkpoint: string;
  readonly stage: number;
  readonly step: number;
  /** Longest sequence that the file takes. */
  readonly length: number;
  readonly opset: bigint;
  /** Whether example.safetensors lies beside it. */
  readonly example: boolean;
}

/** The README.md that goes with an exported model: what each input means and how to feed it. */
export function readmeOf(graph: OnnxGraph, facts: ReadmeFacts): string {
  const { model, length } = facts;
  const { globalCount, tileCount } = patchLayout(model);
  const row = ({ name, type, shape }: OnnxValue): string =>
    `| \`${name}\` | ${type} | [${shape.map(describeExtent).join(', ')}] | ${meaningOf(name)} |`;
  const parts = [
    '`tokens` text rows (row p is the embedding of `tokens[p]`)',
    `${globalCount} rows of the global view`,
    ...(graph.inputs.some(i => i.name === 'localPixels')
      ? [`${tileCount} rows a tile, tile after tile`]
      : []),
    'one row a region',
    'one last row of zeros',
  ];
  const example = facts.example
    ? `
## Example

\`example.safetensors\` holds every input of one real sample under \`in.<name>\` and the scores that \`ground\` itself gives under
\`out.logits\`: run the model on it and compare.

    import onnxruntime, safetensors.numpy as st
    example = st.load_file('example.safetensors')
    session = onnxruntime.InferenceSession('model.onnx')
    logits, = session.run(None, {i.name: example['in.' + i.name] for i in session.get_inputs()})
    print(abs(logits - example['out.logits']).max())
`
    : '';
  return `# ${model.name} as ONNX

One sample through the whole network: image and regions and text in, the scores of the next token at every position out.
Written by \`ground export onnx\` from ${facts.checkpoint} (stage ${facts.stage}, step ${facts.step}).

- \`model.onnx\` is the graph (operator set ${facts.opset}), \`model.onnx_data\` holds its weights: keep the two together.
- \`model.json\` is the model's configuration, \`tokenizer.json\` its tokenizer (Hugging Face format).
- The number of tokens (at most ${length}: the file holds positions for no more), of tiles (at least 1) and of regions may
  differ from run to run; names such as \`tokens\` and \`tiles\` in the shapes below stand for them. The batch is one sample.

| input | type | shape | meaning |
|---|---|---|---|
${graph.inputs.map(row).join('\n')}

| output | type | shape | meaning |
|---|---|---|---|
${graph.outputs.map(row).join('\n')}

## The sequence

Position p of the sequence reads row \`source[p]\` of a table made of, in this order: ${parts.join('; ')}. A position that holds text
reads its own row, \`source[p] = p\`. Where the tokenizer puts the image token, all visual tokens stand instead, in the order
\`${model.layout.order}\`, the tiles' patches row-major over the whole image; a \`<region_fea>\` token reads the row of its region. Attention
is causal, so positions after the last one in use (zero row) change nothing before them.

To generate, feed the prompt, take the largest score of the last position, append that token and run again. The text rows come
first in the table: with every token appended, the row numbers of everything after them in \`source\` rise by one.

## Pixels and regions

Views are ${model.image.side} by ${model.image.side} pixels (\`image.resize: ${model.image.resize}\`), channels first: RGB / 255, minus the mean, divided by the deviation.
Global view: ${normalisation(CLIP_NORMALISATION)}; tiles: ${normalisation(tileNormalisation(model))}.
Points of a region are drawn inside it, anchors are chosen by farthest point sampling,
neighbours by distance. In \`regions.*\` everything is flattened: region r of a pool of n points owns rows r·n to r·n + n - 1.
${example}`;
}

const MEANINGS: Readonly<Record<string, string>> = {
  tokens: 'text token ids; 0 where the position holds no text',
  source: 'the row of the table below that each position reads',
  globalPixels: 'the whole image',
  localPixels: 'the tiles of the grid, row after row',
  localCentres: "where each tile's patches lie in the image, x and y in 0..1",
  'regions.globalRows': 'the four patches of the global view around each point; one more than the last: none',
  'regions.globalWeights': 'their bilinear weights',
  'regions.localRows': 'the four patches of the tiles around each point',
  'regions.localWeights': 'their bilinear weights',
  'regions.blocks.N.points': 'positions of the pool of points, x and y in 0..1',
  'regions.blocks.N.anchors': 'which points of the pool are kept',
  'regions.blocks.N.neighbors': 'the nearest points of the pool to each of those, itself included',
  logits: 'scores of the next token',
};

function normalisation({ mean, std }: Normalisation): string {
  return `mean [${mean.join(', ')}], deviation [${std.join(', ')}]`;
}

function meaningOf(name: string): string {
  return MEANINGS[name.replace(/\.\d+\./, '.N.')] ?? '';
}
