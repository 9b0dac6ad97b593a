/** The recipe that the wizard writes, with comments that say what can be changed. No vscode here. */
import { basename, dirname, extname, isAbsolute, relative, sep } from 'node:path';
import { Document } from 'yaml';
import type { Preset } from '../recipe/presets.ts';
import { nameOf } from './checkpoint-session.ts';

export interface DraftChoices {
  /** Absolute path of the dense checkpoint. */
  readonly base: string;
  /** `auto` or an architecture. */
  readonly target: string;
  readonly preset: string | null;
  readonly experts: number;
  readonly topK: number;
}

/** Text of a recipe at `file` (absolute). */
export function recipeDraft(choices: DraftChoices, file: string): string {
  const { target, preset, experts, topK } = choices;
  const values: Record<string, string | number> = { base: portable(choices.base, file) };
  if (preset !== null) values['preset'] = preset;
  values['target'] = target;
  values['experts'] = experts;
  values['top_k'] = topK;
  const document = new Document(values);
  document.commentBefore = ` How a dense checkpoint becomes a Mixture-of-Experts one. Paths are relative to this file.\n Every other field has a default; completion lists them.`;
  return document.toString({ lineWidth: 0 });
}

/** Relative where the checkpoint lies near the recipe, so that both can be moved together. */
export function portable(path: string, file: string): string {
  const short = relative(dirname(file), path);
  if (short === '') return '.';
  if (isAbsolute(short) || short.startsWith(`..${sep}..${sep}..`)) return path;
  return short.split(sep).join('/');
}

/** `tiny-llama` with 8 experts → `tiny-llama-8x.moe.yaml`. */
export function recipeFileName(base: string, experts: number): string {
  const name = nameOf(base);
  const stem = /\.(?:safetensors|gguf|json)$/i.test(name) ? basename(name, extname(name)) : name;
  const clean = stem.replaceAll(/[^\w.-]+/g, '-').replaceAll(/^[-.]+|[-.]+$/g, '');
  return `${clean === '' ? 'model' : clean}-${String(experts)}x.moe.yaml`;
}

/** Experts and top-k that a preset states, or null. */
export function presetNumbers(preset: Preset | undefined): { experts: number | null; topK: number | null } {
  const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);
  return { experts: number(preset?.values['experts']), topK: number(preset?.values['top_k']) };
}

/** What is wrong with a number typed into the wizard, or null. */
export function countProblem(text: string, most: number, what: string): string | null {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < 1) return `${what} is a whole number from 1`;
  return value > most ? `${what} is at most ${String(most)}` : null;
}
