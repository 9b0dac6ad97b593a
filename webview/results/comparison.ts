/** Two runs against each other. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { ResultsComparison } from '../../src/protocol/results.ts';
import { grouped, visible } from '../lib/format.ts';
import { pairedText, verdict } from '../lib/scores.ts';
import { icon } from '../parts/icon.ts';
import { t } from '../strings.ts';
import { metricTable, pairedTable } from './tables.ts';

/** Question by question where both runs name their documents, metrics side by side, and what qualifies both. */
export function comparisonPart(comparison: ResultsComparison): TemplateResult {
  const { paired, notes, rows } = comparison;
  return html`<h2 class="break">${t('This run and {0}', visible(comparison.other.name))}</h2>
    ${
      paired === null
        ? nothing
        : html`<div class="card">
              <p>${pairedText(paired.overall)}</p>
              <p><strong>${verdict(paired.overall)}</strong></p>
            </div>
            ${pairedTable(paired)}
            ${
              paired.flips.length === 0
                ? nothing
                : html`<details>
                    <summary>
                      ${t('Questions that flipped ({0})', grouped(paired.flips.length + paired.moreFlips))}
                    </summary>
                    <ul>
                      ${paired.flips.map(
                        ({ task, document, gained }) =>
                          html`<li>
                            ${icon(gained ? 'arrow-up' : 'arrow-down')} ${visible(task)} ${t('document {0}', document)}:
                            ${gained ? t('gained') : t('lost')}
                          </li>`,
                      )}
                    </ul>
                    ${paired.moreFlips > 0 ? html`<p>${t('{0} more', grouped(paired.moreFlips))}</p>` : nothing}
                  </details>`
            }`
    }
    ${
      notes.length === 0
        ? nothing
        : html`<ul class="dim">
            ${notes.map((note) => html`<li class="break">${visible(note)}</li>`)}
          </ul>`
    }
    ${rows.length === 0 ? html`<p>${t('The runs have no task in common.')}</p>` : metricTable(comparison)}`;
}
