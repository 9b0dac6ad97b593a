/** What parts of the checkpoint editor ask of its root. */
import type { ParamsOf } from '../../src/protocol/define.ts';
import type { viewerCommand } from '../../src/protocol/viewer.ts';
import type { SavedView } from './state.ts';

export type CommandName = ParamsOf<typeof viewerCommand>['command'];

export interface CommandDetail {
  readonly command: CommandName;
  readonly argument: string | null;
}

/** Asks the host for a command. */
export function command(from: EventTarget, name: CommandName, argument: string | null = null): void {
  from.dispatchEvent(
    new CustomEvent<CommandDetail>('moe-command', {
      detail: { command: name, argument },
      bubbles: true,
      composed: true,
    }),
  );
}

/** Says something to screen readers. */
export function say(from: EventTarget, text: string): void {
  from.dispatchEvent(new CustomEvent('moe-say', { detail: text, bubbles: true, composed: true }));
}

/** Changes what is remembered of the view. */
export function changeView(from: EventTarget, changes: Partial<SavedView>): void {
  from.dispatchEvent(new CustomEvent('moe-view', { detail: changes }));
}
