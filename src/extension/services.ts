/** What the parts of the extension share. Made once by main.ts, handed to whoever needs it. */
import type * as vscode from 'vscode';
import type { CheckpointSessions } from './sessions.ts';
import type { EvaluationHistory } from './evaluations.ts';
import type { ExpertLoadsReader } from './expert-loads.ts';
import type { JobsHost } from './jobs-host.ts';
import type { Recents } from './recents.ts';
import type { WorkerClient } from './worker-client.ts';

export interface Services {
  readonly context: vscode.ExtensionContext;
  readonly log: vscode.LogOutputChannel;
  readonly worker: WorkerClient;
  readonly sessions: CheckpointSessions;
  readonly jobs: JobsHost;
  readonly recents: Recents;
  readonly history: EvaluationHistory;
  readonly loads: ExpertLoadsReader;
}
