/** All commands, in one table. */
import * as vscode from 'vscode';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import type { CheckpointsTree } from './checkpoints-tree.ts';
import { checkpointCommands } from './commands-checkpoints.ts';
import { evaluateCommands } from './commands-evaluate.ts';
import { jobCommands } from './commands-jobs.ts';
import type { CompareEditors } from './compare-editor.ts';
import type { EvaluationHistory } from './evaluations.ts';
import type { HeatmapView } from './heatmap-view.ts';
import { COMMANDS } from './ids.ts';
import type { PlanEditors } from './plan-editor.ts';
import type { Playgrounds } from './playground.ts';
import type { ResultsEditors } from './results-editor.ts';
import type { Services } from './services.ts';
import type { TextDocuments } from './text-documents.ts';
import { showError } from './show-error.ts';
import type { WorkspaceFiles } from './workspace-files.ts';

export interface CommandParts {
  readonly services: Services;
  readonly editors: CheckpointEditors;
  readonly texts: TextDocuments;
  readonly plans: PlanEditors;
  readonly comparisons: CompareEditors;
  readonly checkpoints: CheckpointsTree;
  readonly heatmap: HeatmapView;
  readonly files: WorkspaceFiles;
  readonly history: EvaluationHistory;
  readonly results: ResultsEditors;
  readonly playgrounds: Playgrounds;
}

export type CommandName = keyof typeof COMMANDS;
export type CommandTable = Readonly<Partial<Record<CommandName, (...args: unknown[]) => unknown>>>;

/** Registers every command. A failure is shown with what was being done, and logged. */
export function registerCommands(parts: CommandParts): vscode.Disposable {
  const table: CommandTable = { ...checkpointCommands(parts), ...evaluateCommands(parts), ...jobCommands(parts) };
  return vscode.Disposable.from(
    ...Object.entries(COMMANDS).map(([name, id]) =>
      vscode.commands.registerCommand(id, async (...args: unknown[]) => {
        const run = table[name as CommandName];
        try {
          return await run?.(...args);
        } catch (error) {
          await showError(parts.services, vscode.l10n.t('MoE Workbench'), error);
          return undefined;
        }
      }),
    ),
  );
}
