import type { Difference } from './check.ts';
import type { OnnxSettings } from './onnx-settings.ts';
import type { WrittenPart } from './transformers.ts';

/** The README.md of a folder in the layout of transformers.js. */
export function partsReadme(
  { model, dtype, views, checkpoint, stage, step }: OnnxSettings,
  files: readonly WrittenPart[],
  differences: readonly Difference[] | null,
): string {
  const tiled = views === 'global+local';
  const sizes = files.map(({ file, nodes, modelBytes, dataBytes }) => {
    const bytes = modelBytes + Number(dataBytes);
    return `| \`${file}\` | ${nodes} | ${(bytes / 1e6).toFixed(1)} |`;
  });
  const compared = differences?.map(
    d =>
      `| ${d.sample} | ${d.absolute.toExponential(1)} | ${d.relative.toExponential(1)} | ${d.otherTokens} |`,
  );
  return `# ${model.name} as ONNX

Written by \`ground export onnx\` from ${checkpoint} (stage ${stage}, step ${step}); weights are stored as ${dtype}. Files are named
and laid out as transformers.js has them; keep each \`.onnx_data\` beside its \`.onnx\`.

    ground predict --onnx . --image photo.jpg --prompt "What is in the image?"

| file | nodes | MB |
|---|---|---|
${sizes.join('\n')}

| piece | takes | gives |
|---|---|---|
| \`vision_encoder\` | \`pixel_values\` [images, 3, S, S]${tiled ? ', `tile_values` [tiles, 3, S, S]' : ''} | \`global_features\`${tiled ? ', `tile_features`' : ''} [n, patches, width] |
| \`projectors\` | those features${tiled ? ', `tile_centres` [tiles, patches, 2] (x, y in 0..1 of the image)' : ''} | \`global_tokens\`${tiled ? ', `tile_tokens`' : ''}: rows for the sequence |
| \`region_sampler\` | maps and the geometry of regions | \`region_features\` [regions, hidden]: a row for each \`<region_fea>\` |
| \`embed_tokens\` | \`input_ids\` [batch, length] | \`inputs_embeds\` [batch, length, hidden] |
| \`decoder_model_merged\` | \`inputs_embeds\`, \`attention_mask\` [batch, past + length], \`position_ids\` [batch, length], \`past_key_values.N.key\` and \`.value\` | \`logits\` [batch, length, words], \`present.N.key\` and \`.value\` |

Where the tokenizer puts the image token, all rows of the global view${tiled ? ' and of the tiles' : ''} stand instead, in the order
\`${model.layout.order}\`, tiles' patches row-major over the whole image. A prompt is read with keys and values of length 0; each further
token with those that the step before gave. Views are ${model.image.side} by ${model.image.side} pixels; \`preprocessor_config.json\` says how they are
normalised, \`ground.json\` everything else about the model.
${
  compared === undefined
    ? ''
    : `
## Compared with the model itself

| on | largest difference | relative to the largest score | other next tokens |
|---|---|---|---|
${compared.join('\n')}
`
}`;
}
