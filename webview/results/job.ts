/** The job that writes the results: how far it is, its scores so far, and how it ended. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { ParamsOf } from '../../src/protocol/define.ts';
import type { resultsCommand, ResultsJob } from '../../src/protocol/results.ts';
import { visible } from '../lib/format.ts';
import { runningText } from '../lib/scores.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';
import { runningTable } from './tables.ts';

type Command = ParamsOf<typeof resultsCommand>['command'];

export function jobPart(job: ResultsJob, run: (command: Command) => void): TemplateResult {
  const { status, progress, cancelling, resumable, error, words } = job;
  const open = status === 'queued' || status === 'running';
  const button = (label: string, command: Command, primary = false): TemplateResult =>
    html`<vscode-button
      appearance=${primary ? 'primary' : 'secondary'}
      @click=${() => {
        run(command);
      }}
      >${label}</vscode-button
    >`;
  return html`<section class="card running" aria-label=${t('The job')}>
    <h2 class="break">${visible(job.title)}</h2>
    ${
      open
        ? html`<moe-progress
            what=${status === 'queued' || cancelling ? words : whatText(progress)}
            done=${progress?.bytesDone ?? 0}
            total=${progress?.bytesTotal ?? 0}
            detail=${runningText(job)}
          ></moe-progress>`
        : html`<p class="row">
            ${icon(status === 'done' ? 'pass' : status === 'cancelled' ? 'circle-slash' : 'error', status === 'done' ? 'ok' : '')}${words}
          </p>`
    }
    ${runningTable(job)}
    ${
      error === null || status === 'cancelled'
        ? nothing
        : html`<div class="note error" role="alert">
            ${icon('error', 'error')}
            <div class="break">
              ${visible(error.message)} ${error.hint === null ? nothing : html`<p>${visible(error.hint)}</p>`}
            </div>
          </div>`
    }
    <div class="row">
      ${open ? button(t('Cancel'), 'cancel') : nothing}
      ${!open && resumable ? button(t('Resume'), 'resume', true) : nothing}
      ${!open ? button(t('Run Again'), 'again') : nothing} ${button(t('Show Log'), 'showLog')}
    </div>
  </section>`;
}

function whatText(progress: ResultsJob['progress']): string {
  if (progress === null) return t('Starting');
  switch (progress.phase) {
    case 'start':
      return t('Opening the checkpoint');
    case 'prepare':
      return t('Loading the model');
    case 'score':
      return t('Scoring {0}', visible(progress.at));
    case 'trace':
      return t('Tracing {0}', visible(progress.at));
    default:
      return visible(progress.at);
  }
}
