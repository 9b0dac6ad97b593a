import { usageError } from '../command.ts';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';
import { RECIPE_OPTIONS } from '../planning.ts';

export const recipe: Command = {
  spec: {
    name: 'recipe',
    summary: 'show a recipe with every default filled in and where each value came from, or validate it',
    usage: ['show [FILE] [--preset NAME] [--set KEY=VALUE …]', 'validate FILE', 'schema'],
    about: [
      'show prints the whole recipe as YAML; it can be saved as a *.moe.yaml. validate lists every problem at once and exits 3 if there is one. schema prints the JSON schema for editors.',
    ],
    options: RECIPE_OPTIONS,
    positionals: [1, 2],
  },
  async run(context) {
    const { args, io } = context;
    const [verb, file = args.text('recipe')] = args.positionals;
    if (verb === 'schema') {
      const { recipeJsonSchema } = await import('../../recipe/json-schema.ts');
      await io.out(`${JSON.stringify(recipeJsonSchema(), null, 2)}\n`);
      return 0;
    }
    if (verb !== 'show' && verb !== 'validate')
      throw usageError('unknown-command', `moe recipe has no "${verb ?? ''}"`, 'moe recipe show | validate | schema');
    if (verb === 'validate' && file === undefined && args.text('preset') === undefined)
      throw usageError('argument-missing', 'moe recipe validate needs FILE', 'moe help recipe');
    const { loadRecipe } = await import('../../recipe/load.ts');
    const { problemJson, problemLine } = await import('../../recipe/problems.ts');
    const loaded = loadRecipe({ file, preset: args.text('preset'), sets: args.texts('set'), cwd: io.cwd });
    const { recipeText } = await import('../../report/recipe.ts');
    for (const warning of loaded.warnings) context.log(`warning: ${problemLine(warning)} [${warning.code}]`);
    const value = {
      valid: true,
      kind: loaded.kind,
      recipe: loaded.recipe,
      origin: Object.fromEntries(loaded.origin),
      base: loaded.basePath,
      parents: loaded.parentPaths,
      warnings: loaded.warnings.map((warning) => problemJson(warning)),
      assumptions: loaded.preset?.assumptions ?? [],
    };
    await emit(context, value, () =>
      verb === 'show' ? recipeText(loaded.recipe, loaded.origin) : `${file ?? 'recipe'}: valid (${loaded.kind})\n`,
    );
    return 0;
  },
};
