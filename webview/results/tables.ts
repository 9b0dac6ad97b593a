/** Tables of the results editor. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { Evaluation, ResultsComparison, ResultsJob } from '../../src/protocol/results.ts';
import { grouped, visible } from '../lib/format.ts';
import { differenceText, pText, scoreText } from '../lib/scores.ts';
import { props } from '../parts/props.ts';
import { t } from '../strings.ts';

/** Scores as the harness's table shows them. */
export function scoreTable({ rows }: Evaluation): TemplateResult {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Scores')}>
    <table>
      <thead>
        <tr>
          <th scope="col">${t('Task')}</th>
          <th scope="col" class="num">${t('Few-shot')}</th>
          <th scope="col" class="num">${t('Documents')}</th>
          <th scope="col">${t('Metric')}</th>
          <th scope="col" class="num">${t('Value')}</th>
          <th scope="col" class="num">${t('± Stderr')}</th>
        </tr>
      </thead>
      <tbody>
        ${rows.flatMap(({ task, group, level, fewshot, documents, metrics }) =>
          (metrics.length === 0 ? [null] : metrics).map(
            (metric, at) =>
              html`<tr>
                <th scope="row" class=${group ? 'group break' : 'break'}>
                  <span ${props({ 'padding-inline-start': `${String(level * 16)}px` })}
                    >${at === 0 ? visible(task) : html`<span class="hidden-text">${visible(task)}</span>`}</span
                  >
                </th>
                <td class="num">${at > 0 || fewshot === null ? nothing : fewshot}</td>
                <td class="num">${at > 0 || documents === null ? nothing : grouped(documents)}</td>
                <td>
                  ${
                    metric === null
                      ? t('no metric')
                      : html`${visible(metric.name)}${
                          metric.higherIsBetter === null
                            ? nothing
                            : html`<span title=${metric.higherIsBetter ? t('higher is better') : t('lower is better')}
                                ><span aria-hidden="true"> ${metric.higherIsBetter ? '↑' : '↓'}</span
                                ><span class="hidden-text"
                                  >${metric.higherIsBetter ? t('higher is better') : t('lower is better')}</span
                                ></span
                              >`
                        }`
                  }
                </td>
                <td class="num" title=${metric?.value === null || metric === null ? '' : String(metric.value)}>
                  ${metric === null ? nothing : scoreText(metric.value)}
                </td>
                <td class="num" title=${metric === null || metric.stderr === null ? '' : String(metric.stderr)}>
                  ${metric === null || metric.stderr === null ? nothing : metric.stderr.toFixed(4)}
                </td>
              </tr>`,
          ),
        )}
      </tbody>
    </table>
  </div>`;
}

/** Scores of a run that goes on. */
export function runningTable({ progress }: ResultsJob): TemplateResult | typeof nothing {
  const scores = progress?.scores?.scores ?? [];
  if (scores.length === 0) return nothing;
  return html`<table>
    <caption>
      ${t('Scores so far')}
    </caption>
    <thead>
      <tr>
        <th scope="col">${t('Task')}</th>
        <th scope="col">${t('Metric')}</th>
        <th scope="col" class="num">${t('Value')}</th>
        <th scope="col" class="num">${t('95 % interval')}</th>
        <th scope="col" class="num">${t('Documents')}</th>
      </tr>
    </thead>
    <tbody>
      ${scores.map(
        ({ name, metric, value, interval, documents }) =>
          html`<tr>
            <th scope="row" class="break">${visible(name)}</th>
            <td>${visible(metric)}</td>
            <td class="num">${scoreText(value)}</td>
            <td class="num">${interval === null ? '–' : `${interval.low.toFixed(3)} – ${interval.high.toFixed(3)}`}</td>
            <td class="num">${grouped(documents)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** Question by question, by task or subject; the largest changes first. */
export function pairedTable(paired: NonNullable<ResultsComparison['paired']>): TemplateResult {
  const sorted = [...paired.tasks].sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference));
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Questions by task')}>
    <table>
      <caption>
        ${t('Questions by task: largest change first')}
      </caption>
      <thead>
        <tr>
          <th scope="col">${t('Task')}</th>
          <th scope="col" class="num">${t('Questions')}</th>
          <th scope="col" class="num">${t('Other')}</th>
          <th scope="col" class="num">${t('This')}</th>
          <th scope="col" class="num">${t('Difference')}</th>
          <th scope="col" class="num">${t('± Stderr')}</th>
          <th scope="col" class="num">${t('Gained')}</th>
          <th scope="col" class="num">${t('Lost')}</th>
          <th scope="col" class="num">${t('McNemar')}</th>
        </tr>
      </thead>
      <tbody>
        ${sorted.map(
          (one) =>
            html`<tr>
              <th scope="row" class="break">${visible(one.task)}</th>
              <td class="num">${grouped(one.documents)}</td>
              <td class="num">${scoreText(one.scoreA)}</td>
              <td class="num">${scoreText(one.scoreB)}</td>
              <td class="num">${differenceText(one.difference)}</td>
              <td class="num">${one.stderr === null ? '–' : one.stderr.toFixed(4)}</td>
              <td class="num">${grouped(one.gained)}</td>
              <td class="num">${grouped(one.lost)}</td>
              <td class="num">${pText(one.p)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Metrics of both runs side by side. */
export function metricTable({ rows }: ResultsComparison): TemplateResult {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Metrics side by side')}>
    <table>
      <caption>
        ${t('Metrics side by side')}
      </caption>
      <thead>
        <tr>
          <th scope="col">${t('Task')}</th>
          <th scope="col">${t('Metric')}</th>
          <th scope="col" class="num">${t('Other')}</th>
          <th scope="col" class="num">${t('This')}</th>
          <th scope="col" class="num">${t('Difference')}</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ task, metric, a, b, difference }) =>
            html`<tr>
              <th scope="row" class="break">${visible(task)}</th>
              <td>${visible(metric)}</td>
              <td class="num">${scoreText(a)}</td>
              <td class="num">${scoreText(b)}</td>
              <td class="num">${differenceText(difference)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
