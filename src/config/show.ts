import { isMap, isScalar, isSeq, type ParsedNode, parseDocument } from 'yaml';
import type { Recipe } from '../train/recipe.ts';
import { type LoadOptions, loadRecipeWithOrigins } from './load.ts';
import { formatPlace, type KeyPath } from './problems.ts';
import { recipeToYaml } from './resolved.ts';

/** A resolved recipe with the origin of each value. */
export interface ShownRecipe {
  readonly recipe: Recipe;
  /** Key path to "default", "file:line:column" or the `--set` that gave the value. */
  readonly origins: Readonly<Record<string, string>>;
  /** The resolved recipe; behind each value a comment with its origin. */
  readonly yaml: string;
}

/** Resolves a stage and says of each value where it comes from. Datasets need not exist. */
export function showRecipe(options: LoadOptions): ShownRecipe {
  const { recipe, origin } = loadRecipeWithOrigins({ files: 'ignore', ...options });
  const origins: Record<string, string> = {};
  const annotate = (node: ParsedNode | null, key: KeyPath): void => {
    if (isMap<ParsedNode, ParsedNode | null>(node)) {
      for (const { key: name, value } of node.items)
        if (isScalar(name)) annotate(value, [...key, String(name.value)]);
    } else if (isSeq<ParsedNode>(node)) {
      for (const [i, item] of node.items.entries()) annotate(item, [...key, i]);
    } else if (isScalar(node)) {
      const place = origin(key);
      const words = place ? formatPlace(place) : 'default';
      origins[key.join('.')] = words;
      node.comment = ` ${words}`;
    }
  };
  const document = parseDocument(recipeToYaml(recipe));
  annotate(document.contents, []);
  return { recipe, origins, yaml: document.toString({ lineWidth: 0 }) };
}
