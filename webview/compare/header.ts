/** Both sides and what the comparison comes to. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { CompareSummary } from '../../src/protocol/comparing.ts';
import { asExpertsLine, compareLine } from '../lib/compared.ts';
import { bytesText, grouped, shortCount, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';

/** One side: its name, which opens it, and what it is. */
export function sideCard(
  letter: string,
  where: { readonly name: string; readonly path: string },
  side: CompareSummary['a'] | null,
  dense: boolean,
  open: () => void,
): TemplateResult {
  const about =
    side === null
      ? visible(where.path)
      : [
          side.modelType === null ? t('family unknown') : visible(side.modelType),
          side.parameters === null ? null : t('{0} parameters', shortCount(side.parameters)),
          bytesText(side.bytes),
          t('{0} tensors', grouped(side.tensors)),
        ]
          .filter((each) => each !== null)
          .join(' · ');
  return html`<div class="card side">
    <div class="row">
      <span class="tag" aria-label=${t('Side {0}', letter)}>${letter}</span>
      <button class="link" type="button" title=${where.path} @click=${open}>${visible(where.name)}</button>
      ${dense ? html`<span class="tag">${t('dense')}</span>` : side?.kind === 'moe' ? html`<span class="tag">${t('MoE')}</span>` : nothing}
    </div>
    <p class="dim about" title=${about}>${about}</p>
  </div>`;
}

/** What is the same and what is not; `compare` compares the values, null while that goes on. */
export function summaryLine(summary: CompareSummary, compare: (() => void) | null): TemplateResult {
  const elsewhere = asExpertsLine(summary);
  return html`<div class="row">
      ${summary.identical === true ? icon('pass', 'ok') : icon('compare-changes')}
      <div class="says"><strong>${compareLine(summary)}</strong> ${elsewhere === null ? nothing : elsewhere}</div>
      ${
        summary.valuesCompared || compare === null
          ? nothing
          : html`<vscode-button @click=${compare}>${t('Compare values')}</vscode-button>`
      }
    </div>
    ${
      summary.notes.length + summary.skipped.length === 0
        ? nothing
        : html`<details>
            <summary>
              ${t('Notes ({0})', grouped(summary.notes.length + summary.skipped.length + summary.moreSkipped))}
            </summary>
            <ul>
              ${summary.notes.map((note) => html`<li class="break">${visible(note)}</li>`)}
              ${summary.skipped.map((name) => html`<li class="break">${t('not matched: {0}', visible(name))}</li>`)}
              ${summary.moreSkipped > 0 ? html`<li>${t('{0} more are not matched', grouped(summary.moreSkipped))}</li>` : nothing}
            </ul>
          </details>`
    }`;
}
