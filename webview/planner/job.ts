/** The job of a recipe in words and a bar: queued, running, done, failed, interrupted; what can be done about it. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { JobView } from '../../src/protocol/jobs.ts';
import { bytesText, durationText, grouped, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';
import { logitPart } from './logits.ts';

export interface JobActions {
  readonly cancel: (job: JobView) => void;
  readonly resume: () => void;
  readonly open: (job: JobView) => void;
  readonly log: (job: JobView) => void;
  readonly show: (job: JobView) => void;
}

/** `restricted`: nothing may be started. */
export function jobPanel(job: JobView, actions: JobActions, restricted: boolean): TemplateResult {
  const [name, tone, words] = head(job);
  return html`<section class="card job" aria-label=${t('Job of this recipe')}>
    <div class="row">
      ${icon(name, tone)}
      <strong class="grow break">${words}</strong>
      ${
        job.status === 'queued' || job.status === 'running'
          ? html`<vscode-button
              appearance="secondary"
              ?disabled=${job.cancelling}
              @click=${() => {
                actions.cancel(job);
              }}
              >${job.cancelling ? t('Cancelling…') : t('Cancel')}</vscode-button
            >`
          : nothing
      }
      ${
        job.resumable
          ? html`<vscode-button ?disabled=${restricted} @click=${actions.resume}>${t('Resume')}</vscode-button>`
          : nothing
      }
      ${
        job.status === 'done'
          ? html`<vscode-button
              @click=${() => {
                actions.open(job);
              }}
              >${t('Open the result')}</vscode-button
            >`
          : nothing
      }
      <button
        class="tool"
        type="button"
        @click=${() => {
          actions.show(job);
        }}
      >
        ${t('Show in jobs')}
      </button>
      <button
        class="tool"
        type="button"
        @click=${() => {
          actions.log(job);
        }}
      >
        ${t('Log')}
      </button>
    </div>
    ${progress(job)} ${job.outcome === null ? nothing : html`<p class="break">${visible(job.outcome.summary)}</p>`}
    ${job.outcome?.logits === undefined ? nothing : logitPart(job.outcome.logits)}
    ${
      job.error === null
        ? nothing
        : html`<div class="note error" role="alert">
            ${icon('error', 'error')}
            <div class="break">
              ${visible(job.error.message)} <span class="dim mono">${job.error.code}</span>
              ${job.error.place.hint === undefined ? nothing : html`<br />${job.error.place.hint}`}
            </div>
          </div>`
    }
  </section>`;
}

function head(
  job: JobView,
): readonly [
  'play' | 'pass-filled' | 'error' | 'circle-slash' | 'history' | 'warning',
  'ok' | 'error' | 'warning' | '',
  string,
] {
  const title = visible(job.title);
  switch (job.status) {
    case 'queued':
      return [
        'history',
        '',
        job.place === null ? t('{0}: waiting', title) : t('{0}: waiting, number {1} in the queue', title, job.place),
      ];
    case 'running':
      return ['play', '', t('{0}: {1}', title, phaseText(job))];
    case 'done':
      return ['pass-filled', 'ok', t('{0}: done', title)];
    case 'checked-bad':
      return ['warning', 'warning', t('{0}: ran to its end, and what it checked is damaged', title)];
    case 'failed':
      return ['error', 'error', t('{0}: failed', title)];
    case 'cancelled':
      return ['circle-slash', '', t('{0}: cancelled', title)];
    case 'interrupted':
      return ['warning', 'warning', t('{0}: interrupted before its end', title)];
  }
}

function phaseText(job: JobView): string {
  switch (job.progress?.phase) {
    case 'plan':
      return t('planning');
    case 'check':
      return t('checking files and space');
    case 'write':
      return t('writing');
    case 'finish':
      return t('putting the files in place');
    case 'verify':
      return t('verifying');
    case 'revert':
      return t('reverting');
    case 'scan':
      return t('reading');
    case 'prepare':
      return t('loading the models');
    case 'logits':
      return t('comparing logits');
    default:
      return t('starting');
  }
}

function progress(job: JobView): TemplateResult | typeof nothing {
  if (job.status !== 'running') return nothing;
  const { progress: now } = job;
  const parts: string[] = [];
  if (now !== null) {
    if (now.phase === 'logits') parts.push(t('{0} of {1} tokens', grouped(now.bytesDone), grouped(now.bytesTotal)));
    else if (now.bytesTotal > 0) parts.push(t('{0} of {1}', bytesText(now.bytesDone), bytesText(now.bytesTotal)));
    if (now.tensorsTotal > 0) parts.push(t('{0} of {1} tensors', grouped(now.tensorsDone), grouped(now.tensorsTotal)));
    if (now.bytesPerSecond !== null) parts.push(`${bytesText(now.bytesPerSecond)}/s`);
    if (now.etaSeconds !== null) parts.push(t('{0} left', durationText(now.etaSeconds)));
  }
  if (job.usage !== null) parts.push(t('{0} of memory', bytesText(job.usage.rssBytes)));
  return html`<moe-progress
      what=${phaseText(job)}
      done=${now?.bytesDone ?? 0}
      total=${now?.bytesTotal ?? 0}
      detail=${parts.join(' · ')}
    ></moe-progress>
    ${now === null || now.at === '' ? nothing : html`<p class="dim mono break">${visible(now.at)}</p>`}`;
}
