/** Fields of config.json that differ. */
import { html } from 'lit';
import type { TemplateResult } from 'lit';
import type { CompareSummary } from '../../src/protocol/comparing.ts';
import { jsonText, visible } from '../lib/format.ts';
import { t } from '../strings.ts';

/** The tab. */
export function configTab(summary: CompareSummary): TemplateResult {
  if (summary.config === null) return html`<p class="dim">${t('At least one side has no config.json.')}</p>`;
  if (summary.config.length === 0) return html`<p>${t('Both configs say the same.')}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Fields that differ')}>
    <table>
      <caption>
        ${t('Fields that differ')}
      </caption>
      <thead>
        <tr>
          <th>${t('Field')}</th>
          <th>A</th>
          <th>B</th>
        </tr>
      </thead>
      <tbody>
        ${summary.config.map(
          ({ field, a, b }) =>
            html`<tr>
              <th scope="row" class="mono break">${visible(field)}</th>
              <td class="mono break">${a === null ? t('(none)') : visible(jsonText(a))}</td>
              <td class="mono break">${b === null ? t('(none)') : visible(jsonText(b))}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
