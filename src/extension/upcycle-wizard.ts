/** *Upcycle to MoE…*: four quick-picks, then a recipe file and its plan. */
import * as vscode from 'vscode';
import { basename } from 'node:path';
import { PRESETS, presetNamed } from '../recipe/presets.ts';
import { TARGETS } from '../recipe/types.ts';
import { VIEW_TYPES } from './ids.ts';
import { countProblem, presetNumbers, recipeDraft, recipeFileName } from './recipe-draft.ts';
import { nameOf } from './checkpoint-session.ts';
import { pickStep, runSteps } from './steps.ts';
import type { Answer, StepPlace } from './steps.ts';
import { outsideFolder } from './viewer-host.ts';

function targetWords(target: (typeof TARGETS)[number]): string {
  switch (target) {
    case 'mixtral':
      return vscode.l10n.t('from llama, mistral, phi3, gemma');
    case 'qwen2_moe':
      return vscode.l10n.t('from qwen2, or with a subset of layers');
    case 'qwen3_moe':
      return vscode.l10n.t('from qwen3');
    case 'flex_olmo':
      return vscode.l10n.t('from olmo2');
    case 'granitemoe':
      return vscode.l10n.t('from granite');
  }
}

const MAX_EXPERTS = 65_536;

/** Asks, writes the recipe where the user says, opens the plan. Resolves with the recipe, or null where it was closed. */
export async function upcycleWizard(base: string): Promise<vscode.Uri | null> {
  const title = vscode.l10n.t('Upcycle {0} to MoE', nameOf(base));
  const place = (step: number): StepPlace => ({ title, step, total: 4 });
  const choice = { target: 'auto', preset: null as string | null, experts: 8, topK: 2 };
  const take = <T>(answer: Answer<T>, set: (value: T) => void): 'next' | 'back' | 'closed' => {
    if (answer === null) return 'closed';
    if (answer === 'back') return 'back';
    set(answer.value);
    return 'next';
  };
  const done = await runSteps([
    async () =>
      take(
        await pickStep(
          place(1),
          vscode.l10n.t('Architecture to write'),
          [
            { label: 'auto', description: vscode.l10n.t('the one that fits the dense family'), value: 'auto' },
            ...TARGETS.map((target) => ({ label: target, description: targetWords(target), value: target as string })),
          ],
          { active: choice.target },
        ),
        (value) => (choice.target = value),
      ),
    async () =>
      take(
        await pickStep<string | null>(
          place(2),
          vscode.l10n.t('Recipe to start from'),
          [
            {
              label: vscode.l10n.t('Plain copies'),
              description: vscode.l10n.t('every expert begins as the dense feed-forward: the function is kept'),
              value: null,
            },
            ...PRESETS.map((preset) => ({
              label: preset.name,
              description: preset.title,
              detail: preset.source,
              value: preset.name,
            })),
          ],
          { active: choice.preset },
        ),
        (value) => {
          choice.preset = value;
          const { experts, topK } = presetNumbers(value === null ? undefined : presetNamed(value));
          if (experts !== null) choice.experts = experts;
          if (topK !== null) choice.topK = topK;
        },
      ),
    async () =>
      take(
        await pickNumber(place(3), vscode.l10n.t('Experts per layer (or type a number)'), [4, 8, 16, 32, 64, 128], {
          active: choice.experts,
          most: MAX_EXPERTS,
          what: vscode.l10n.t('The number of experts'),
          say: (value) => vscode.l10n.t('{0} experts', value),
        }),
        (value) => {
          choice.experts = value;
          choice.topK = Math.min(choice.topK, value);
        },
      ),
    async () =>
      take(
        await pickNumber(
          place(4),
          vscode.l10n.t('Experts that each token uses (or type a number)'),
          [1, 2, 4, 6, 8].filter((value) => value <= choice.experts),
          {
            active: choice.topK,
            most: choice.experts,
            what: vscode.l10n.t('top-k'),
            say: (value) => `top-${String(value)}`,
          },
        ),
        (value) => (choice.topK = value),
      ),
  ]);
  if (!done) return null;
  const uri = await vscode.window.showSaveDialog({
    title: vscode.l10n.t('Save the Recipe'),
    saveLabel: vscode.l10n.t('Save and Preview Plan'),
    defaultUri: vscode.Uri.joinPath(outsideFolder(base), recipeFileName(base, choice.experts)),
    // Not `moe.yaml`: some dialogues append what they take for a missing ending.
    filters: { [vscode.l10n.t('MoE recipes')]: ['yaml', 'yml'] },
  });
  if (uri === undefined) return null;
  const file = withEnding(uri);
  const text = recipeDraft({ base, ...choice }, file.fsPath);
  await vscode.workspace.fs.writeFile(file, new TextEncoder().encode(text));
  await vscode.commands.executeCommand('vscode.openWith', file, VIEW_TYPES.plan);
  return file;
}

/** Some dialogues leave the ending out, or cut it. */
function withEnding(uri: vscode.Uri): vscode.Uri {
  const name = basename(uri.path);
  if (/\.moe\.ya?ml$/i.test(name)) return uri;
  const stem = name.replace(/(?:\.moe)?(?:\.ya?ml)?$/i, '');
  return vscode.Uri.joinPath(uri, '..', `${stem === '' ? 'recipe' : stem}.moe.yaml`);
}

interface NumberChoice {
  readonly active: number;
  readonly most: number;
  readonly what: string;
  readonly say: (value: number) => string;
}

function pickNumber(
  place: StepPlace,
  placeholder: string,
  offered: readonly number[],
  { active, most, what, say }: NumberChoice,
): Promise<Answer<number>> {
  const numbers = [...new Set([...offered, active])].sort((a, b) => a - b);
  const item = (value: number): { label: string; description: string; value: number } => ({
    label: String(value),
    description: say(value),
    value,
  });
  return pickStep(place, placeholder, numbers.map(item), {
    active,
    free: (text) => (countProblem(text, most, what) === null ? item(Number(text)) : null),
  });
}
