/** Jobs in words, for tree, status bar and notifications. No vscode here. */
import type { JobProgress, JobView } from '../protocol/jobs.ts';
import { durationText, shortBytes } from '../report/text.ts';
import { t } from './words.ts';

/** What a job is doing. */
export function phaseText(phase: JobProgress['phase']): string {
  switch (phase) {
    case 'start':
      return t('opening');
    case 'plan':
      return t('planning');
    case 'check':
      return t('checking the source');
    case 'write':
      return t('writing');
    case 'finish':
      return t('finishing');
    case 'verify':
      return t('verifying');
    case 'revert':
      return t('reverting');
    case 'scan':
      return t('reading values');
    case 'prepare':
      return t('loading the model');
    case 'score':
      return t('scoring');
    case 'trace':
      return t('tracing');
    case 'logits':
      return t('comparing logits');
  }
}

/** 0 to 1, or null where nothing is countable yet. */
export function shareDone(progress: JobProgress | null): number | null {
  if (progress === null || progress.bytesTotal <= 0) return null;
  return Math.min(1, progress.bytesDone / progress.bytesTotal);
}

/** "writing 42 %, 1.2 GB/s, 3 s left". */
export function progressText(progress: JobProgress | null): string {
  if (progress === null) return t('starting');
  const share = shareDone(progress);
  const parts = [
    share === null
      ? phaseText(progress.phase)
      : t('{0} {1} %', phaseText(progress.phase), String(Math.floor(share * 100))),
  ];
  const score = scoreText(progress.scores);
  if (score !== null) parts.push(score);
  if (progress.bytesPerSecond !== null && progress.bytesPerSecond > 0)
    parts.push(t('{0}/s', shortBytes(progress.bytesPerSecond)));
  if (progress.etaSeconds !== null) parts.push(t('{0} left', durationText(progress.etaSeconds)));
  return parts.join(', ');
}

/** "mmlu acc 0.312 [0.281, 0.345]": the running score of the widest group, with its 95 % interval. */
export function scoreText(scores: JobProgress['scores']): string | null {
  const shown = scores?.scores.at(-1);
  if (shown === undefined) return null;
  const { name, metric, value, interval } = shown;
  const range = interval === null ? '' : ` [${interval.low.toFixed(3)}, ${interval.high.toFixed(3)}]`;
  return `${name} ${metric} ${value.toFixed(3)}${range}`;
}

/** What stands behind a job's title. */
export function statusText(job: JobView, now: number = Date.now()): string {
  switch (job.status) {
    case 'queued':
      return job.place === null ? t('waiting') : t('waiting, place {0}', job.place);
    case 'running':
      if (job.cancelling) return t('stopping');
      return job.mine ? progressText(job.progress) : t('{0} (another window)', progressText(job.progress));
    case 'done':
      return t('done {0}', ago(job.ended, now));
    case 'checked-bad':
      return t('found damage {0}', ago(job.ended, now));
    case 'failed':
      return t('failed {0}', ago(job.ended, now));
    case 'cancelled':
      return t('cancelled {0}', ago(job.ended, now));
    case 'interrupted':
      return t('interrupted {0}', ago(job.ended, now));
  }
}

/** "3 min ago". */
export function ago(iso: string | null, now: number): string {
  const then = iso === null ? NaN : Date.parse(iso);
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (Number.isNaN(seconds)) return '';
  if (seconds < 60) return t('just now');
  if (seconds < 3600) return t('{0} min ago', Math.floor(seconds / 60));
  if (seconds < 86_400) return t('{0} h ago', Math.floor(seconds / 3600));
  return new Date(then).toISOString().slice(0, 10);
}

/** Seconds that a job ran, or null. */
export function secondsOf(job: JobView): number | null {
  if (job.started === null || job.ended === null) return null;
  return (Date.parse(job.ended) - Date.parse(job.started)) / 1000;
}

/** Where a job's result lies, for jobs that make one. */
export function resultPath(job: JobView): string | null {
  switch (job.params.kind) {
    case 'upcycle':
    case 'verify':
      return job.params.out;
    case 'revert':
      return job.params.dest;
    case 'doctor':
      return job.params.path;
    case 'eval':
    case 'trace':
      return job.params.out;
  }
}

/** There is something to open: what was written, or an evaluation whose scores can be followed. */
export function hasResult(job: JobView): boolean {
  return job.status === 'done' || job.kind === 'eval' || job.kind === 'trace';
}

/** Words for menus: `when: viewItem =~ /…/`. */
export function jobContext(job: JobView): string {
  const open = job.status === 'queued' || job.status === 'running';
  const words = ['job', open ? (job.cancelling ? 'stopping' : 'open') : 'ended', job.params.kind];
  if (job.resumable) words.push('resumable');
  if (job.outcome !== null) words.push('report');
  if (hasResult(job)) words.push('result');
  return words.join('.');
}
