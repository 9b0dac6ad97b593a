/** A few native quick-picks in a row, with Back. */
import * as vscode from 'vscode';

export interface StepPlace {
  readonly title: string;
  readonly step: number;
  readonly total: number;
}

/** Null: closed. */
export type Answer<T> = { readonly value: T } | 'back' | null;

export interface Choice<T> extends vscode.QuickPickItem {
  readonly value: T;
}

/** One of a list. `free`: what is typed can be taken instead, where it is fit. */
export function pickStep<T>(
  place: StepPlace,
  placeholder: string,
  choices: readonly Choice<T>[],
  options: { readonly active?: T | undefined; readonly free?: (text: string) => Choice<T> | null } = {},
): Promise<Answer<T>> {
  return new Promise((resolve) => {
    const pick = vscode.window.createQuickPick<Choice<T>>();
    pick.title = place.title;
    pick.step = place.step;
    pick.totalSteps = place.total;
    pick.placeholder = placeholder;
    pick.matchOnDescription = true;
    pick.matchOnDetail = true;
    pick.ignoreFocusOut = true;
    pick.items = [...choices];
    const active = choices.find((choice) => choice.value === options.active);
    if (active !== undefined) pick.activeItems = [active];
    if (place.step > 1) pick.buttons = [vscode.QuickInputButtons.Back];
    let answer: Answer<T> = null;
    if (options.free !== undefined) {
      const { free } = options;
      pick.onDidChangeValue((text) => {
        const typed = text.trim() === '' ? null : free(text.trim());
        const listed = typed !== null && choices.some((choice) => choice.value === typed.value);
        pick.items = typed === null || listed ? [...choices] : [{ ...typed, alwaysShow: true }, ...choices];
      });
    }
    pick.onDidTriggerButton(() => {
      answer = 'back';
      pick.hide();
    });
    pick.onDidAccept(() => {
      const [chosen] = pick.selectedItems;
      if (chosen === undefined) return;
      answer = { value: chosen.value };
      pick.hide();
    });
    pick.onDidHide(() => {
      pick.dispose();
      resolve(answer);
    });
    pick.show();
  });
}

/** Runs steps in order; Back goes to the one before. False: closed. */
export async function runSteps(steps: readonly (() => Promise<'next' | 'back' | 'closed'>)[]): Promise<boolean> {
  let at = 0;
  while (at < steps.length) {
    const result = await (steps[at]?.() ?? Promise.resolve('closed' as const));
    if (result === 'closed') return false;
    at = Math.max(0, at + (result === 'next' ? 1 : -1));
  }
  return true;
}
