/** Around the filter of tensors: what is wrong with it, how to write one. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { RowsPage } from '../../src/protocol/checkpoint.ts';
import { FILTER_HELP } from '../lib/filter-help.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';
import { bytesText, grouped } from '../lib/format.ts';
import type { UnitBase } from '../lib/format.ts';

/** What is wrong with a filter, and where in it. */
export function filterProblem(problem: NonNullable<RowsPage['filterProblem']>, text: string): TemplateResult {
  const { from, to } = problem;
  return html`<div class="problem" role="alert">
    ${icon('error', 'error')} ${problem.message}
    ${from < text.length ? html`<code>${text.slice(0, from)}<u>${text.slice(from, Math.max(to, from + 1))}</u>${text.slice(Math.max(to, from + 1))}</code>` : nothing}
    <span class="dim">${t('All rows without the filter are shown.')}</span>
  </div>`;
}

/** Examples of filters; `ask` tries one. */
export function filterHelp(ask: (filter: string) => void): TemplateResult {
  return html`<div class="help card" role="region" aria-label=${t('How to filter')} tabindex="0">
    <table>
      <tbody>
        ${FILTER_HELP.map(
          ([example, about]) =>
            html`<tr>
              <td>
                <button
                  class="link mono"
                  type="button"
                  @click=${() => {
                    ask(example);
                  }}
                >
                  ${example}
                </button>
              </td>
              <td>${t(about)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    <p class="dim">
      ${t('Terms are combined: all must hold. Keys in the list: arrows, Home, End, Page keys, letters, * opens all siblings, Enter inspects.')}
    </p>
  </div>`;
}

/** How many tensors are shown. */
export function countLine(page: RowsPage | null, unitBase: UnitBase): string {
  return page === null
    ? t('reading…')
    : page.matched === page.tensors
      ? t('{0} tensors', grouped(page.tensors))
      : t(
          '{0} of {1} tensors, {2}',
          grouped(page.matched),
          grouped(page.tensors),
          bytesText(page.matchedBytes, unitBase),
        );
}
