/**
 * VS Code's own *Select for Compare* / *Compare with Selected*: it opens a diff editor with two of our viewers, which shows
 * no difference. That tab is closed and the comparison opened in its place. The API does not say what such a tab holds, so
 * it is told by its kind and by the two viewers that were made for it.
 */
import * as vscode from 'vscode';
import { basename } from 'node:path';

/** Two viewers made within this time can be the sides of one diff. */
const TOGETHER_MS = 3000;

interface Made {
  readonly path: string;
  readonly at: number;
}

/** The two sides of a diff tab by its label and by what was opened last; null where it is none. Pure. */
export function sidesOf(label: string, made: readonly Made[], now: number): readonly [string, string] | null {
  const names = label.split('↔').map((part) => part.trim());
  const [left = '', right = ''] = names;
  if (names.length !== 2 || left === '' || right === '') return null;
  const recent = made.filter(({ at }) => now - at <= TOGETHER_MS).slice(-2);
  const [first, second] = recent;
  if (first === undefined || second === undefined || first.path === second.path) return null;
  const fits = (name: string, { path }: Made): boolean => name.endsWith(basename(path));
  if (fits(left, first) && fits(right, second)) return [first.path, second.path];
  return fits(left, second) && fits(right, first) ? [second.path, first.path] : null;
}

export class NativeCompare {
  private made: Made[] = [];

  constructor(private readonly show: (a: string, b: string) => void) {}

  /** A viewer was made for a file: perhaps as one side of a diff. */
  viewerMade(path: string): void {
    this.made = [...this.made.slice(-3), { path, at: Date.now() }];
    if (this.made.length < 2) return;
    for (const group of vscode.window.tabGroups.all) {
      for (const tab of group.tabs) {
        // A diff of custom editors has no input that the API knows.
        if (!tab.isActive || tab.input !== undefined) continue;
        const sides = sidesOf(tab.label, this.made, Date.now());
        if (sides === null) continue;
        this.made = [];
        void vscode.window.tabGroups.close(tab).then(() => {
          this.show(sides[0], sides[1]);
        });
        return;
      }
    }
  }
}
