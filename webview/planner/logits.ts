/** What running source and result on the same tokens has shown: a green or a red check, with the numbers. */
import { html } from 'lit';
import type { TemplateResult } from 'lit';
import type { LogitCheck } from '../../src/protocol/jobs.ts';
import { grouped, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';

/** The check of a job that has ended. */
export function logitPart(check: LogitCheck): TemplateResult {
  if (check.state === 'skipped')
    return html`<div class="note warning logits">
      ${icon('warning', 'warning')}
      <div class="break"><strong>${t('What both compute is not compared')}</strong>: ${visible(check.why)}</div>
    </div>`;
  const failed = check.state === 'failed';
  const tone = failed ? 'error' : check.state === 'passed' ? 'ok' : 'info';
  return html`<div class="note ${failed ? 'error' : tone === 'ok' ? 'ok' : ''} logits">
    ${icon(failed ? 'error' : tone === 'ok' ? 'pass-filled' : 'info', tone)}
    <div class="break">
      <strong>${verdict(check)}</strong>
      <dl>
        ${facts(check).map(
          ([name, value]) =>
            html`<div>
              <dt class="dim">${name}</dt>
              <dd>${value}</dd>
            </div>`,
        )}
      </dl>
    </div>
  </div>`;
}

function verdict(check: LogitCheck): string {
  switch (check.state) {
    case 'passed':
      return check.bitEqual
        ? t('Source and result give the same logits, bit for bit')
        : t('Source and result compute the same');
    case 'failed':
      return t('Source and result do not compute the same');
    default:
      return t('Logits compared: the plan promises no equality');
  }
}

function facts(check: LogitCheck): readonly (readonly [string, string])[] {
  const { limit, relativeNorm, maxAbs, meanKl, positions, argmaxEqual, nonFinite } = check;
  return [
    [t('Plan promises'), visible(check.class)],
    [
      t('Relative difference'),
      limit === null ? short(relativeNorm) : t('{0} (limit {1})', short(relativeNorm), short(limit)),
    ],
    [t('Largest |Δ logit|'), short(maxAbs)],
    [t('KL, mean'), t('{0} nats', short(meanKl))],
    [t('Same most likely token'), t('{0} of {1} positions', grouped(argmaxEqual), grouped(positions))],
    ...(nonFinite === 0 ? [] : [[t('Not finite'), t('{0} logits', grouped(nonFinite))] as const]),
    [t('Run on'), `${visible(check.input)}, ${visible(check.device)}`],
  ];
}

function short(value: LogitCheck['maxAbs']): string {
  if (typeof value === 'string') return value;
  return value === 0 ? '0' : Math.abs(value) >= 1e-3 ? value.toPrecision(3) : value.toExponential(1);
}
