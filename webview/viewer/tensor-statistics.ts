/** Statistics of one tensor: numbers, histogram, quantiles, first values. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { TensorStats } from '../../src/protocol/checkpoint.ts';
import { fromMeasured } from '../../src/protocol/wire.ts';
import { bytesText, durationText, grouped, numberText, shareText } from '../lib/format.ts';
import type { UnitBase } from '../lib/format.ts';
import '../parts/histogram.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';

export interface ShownStatistics {
  readonly unitBase: UnitBase;
  readonly scale: 'linear' | 'log';
  /** Another scale is chosen for the histogram. */
  readonly rescale: (scale: string) => void;
}

/** All that is known of the values. */
export function statistics(stats: TensorStats, shown: ShownStatistics): TemplateResult {
  const broken = stats.nan + stats.positiveInfinite + stats.negativeInfinite;
  const value = (label: string, number: number | null): TemplateResult =>
    html`<div>
      <dt>${label}</dt>
      <dd title=${number === null ? '' : String(number)}>
        ${number === null ? '–' : html`${numberText(number)}<moe-copy text=${String(number)} what=${label}></moe-copy>`}
      </dd>
    </div>`;
  const counted = (label: string, count: number, bad: boolean): TemplateResult =>
    html`<div class=${bad && count > 0 ? 'bad' : ''}>
      <dt>${label}</dt>
      <dd>
        ${bad && count > 0 ? icon('error', 'error') : nothing} ${grouped(count)}
        ${count === 0 ? nothing : html`<span class="dim">(${shareText(count, stats.elements)})</span>`}
      </dd>
    </div>`;
  return html`<section>
      <h3>${t('Statistics')}</h3>
      <p class="dim">
        ${
          broken > 0
            ? t('{0} of {1} values are not finite.', grouped(broken), grouped(stats.elements))
            : t('All {0} values are finite.', grouped(stats.elements))
        }
        ${t('Read {0} in {1}.', bytesText(stats.bytesRead, shown.unitBase), durationText(stats.seconds))}
      </p>
      <dl class="stats">
        ${value(t('Minimum'), stats.min)} ${value(t('Maximum'), stats.max)} ${value(t('Mean'), stats.mean)}
        ${value(t('Std. deviation'), stats.std)} ${value(t('Mean of |x|'), stats.absMean)}
        ${value(t('Norm (L2)'), stats.norm)} ${counted(t('Zeros'), stats.zeros, false)}
        ${counted('NaN', stats.nan, true)} ${counted('+∞', stats.positiveInfinite, true)}
        ${counted('−∞', stats.negativeInfinite, true)}
      </dl>
    </section>
    ${
      stats.histogram === null
        ? nothing
        : html`<moe-histogram
            .histogram=${stats.histogram}
            .scale=${shown.scale}
            @moe-scale=${(event: CustomEvent<string>) => {
              shown.rescale(event.detail);
            }}
          ></moe-histogram>`
    }
    ${
      stats.quantiles.values.length === 0
        ? nothing
        : html`<section>
            <h3>${t('Quantiles')}</h3>
            <p class="dim">${stats.quantiles.how}</p>
            <table>
              <thead>
                <tr>
                  <th class="num">${t('share below')}</th>
                  <th class="num">${t('value')}</th>
                </tr>
              </thead>
              <tbody>
                ${stats.quantiles.values.map(
                  ({ q, value: at }) =>
                    html`<tr>
                      <td class="num">${numberText(q * 100)} %</td>
                      <td class="num" title=${String(at)}>
                        ${numberText(at)} <moe-copy text=${String(at)} what=${t('this quantile')}></moe-copy>
                      </td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </section>`
    }
    ${
      stats.first.length === 0
        ? nothing
        : html`<section>
            <div class="row">
              <h3 class="grow">${t('First {0} values', grouped(stats.first.length))}</h3>
              <moe-copy .text=${stats.first.map(String).join('\n')} what=${t('the first values')}></moe-copy>
            </div>
            <pre class="values" tabindex="0" role="region" aria-label=${t('First values')}>
${stats.first.map((each) => numberText(fromMeasured(each))).join('  ')}</pre>
          </section>`
    }
    ${
      stats.notes.length === 0
        ? nothing
        : html`<ul class="dim">
            ${stats.notes.map((note) => html`<li>${note}</li>`)}
          </ul>`
    }`;
}
