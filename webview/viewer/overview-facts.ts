/** Numbers and facts of a checkpoint for its overview. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { Overview } from '../../src/protocol/checkpoint.ts';
import { bytesText, formatText, grouped, plural, rangesText, shareText, shortCount, visible } from '../lib/format.ts';
import type { UnitBase } from '../lib/format.ts';
import '../parts/copy.ts';
import { t } from '../strings.ts';
import { append } from '../../src/common/lists.ts';

interface Row {
  readonly label: string;
  readonly value: string;
  readonly exact: string | null;
  readonly note: string | null;
}

/** The numbers that one looks for first. */
export function totals(overview: Overview, unitBase: UnitBase): TemplateResult {
  const { total, active } = overview.parameters;
  const tile = (label: string, value: string, exact: string | null, note: string): TemplateResult =>
    html`<div class="total">
      <span class="dim">${label}</span>
      <strong>${value}${exact === null ? nothing : html`<moe-copy text=${exact} what=${label}></moe-copy>`}</strong>
      <span class="dim">${note}</span>
    </div>`;
  return html`${tile(
    t('Parameters'),
    total === null ? t('unknown') : shortCount(total),
    total === null ? null : String(total),
    total === null ? '' : grouped(total),
  )}
  ${
    overview.kind === 'moe'
      ? tile(
          t('Active per token'),
          active === null ? t('unknown') : shortCount(active),
          active === null ? null : String(active),
          active === null || total === null ? '' : t('{0} of all', shareText(active, total)),
        )
      : nothing
  }
  ${tile(t('Size'), bytesText(overview.bytes, unitBase), String(overview.bytes), t('{0} bytes', grouped(overview.bytes)))}
  ${tile(t('Tensors'), grouped(overview.tensorCount), String(overview.tensorCount), plural(overview.shards, t('file')))}
  ${overview.layers === null ? nothing : tile(t('Layers'), grouped(overview.layers), null, moeLayers(overview))}`;
}

function moeLayers(overview: Overview): string {
  const { experts } = overview;
  if (experts === null) return '';
  return experts.layers === overview.layers
    ? t('all with experts')
    : t('experts in {0}', rangesText(experts.layerIndices));
}

/** What is known of the model, one fact a row. */
export function facts(overview: Overview, unitBase: UnitBase): TemplateResult {
  const { experts } = overview;
  const rows: Row[] = [
    { label: t('Family'), value: overview.modelType ?? t('unknown'), exact: null, note: null },
    { label: t('Format'), value: formatText(overview.format), exact: null, note: null },
    {
      label: t('Data types'),
      value: overview.dtypes.map(({ dtype, tensors }) => `${dtype} (${grouped(tensors)})`).join(', '),
      exact: null,
      note: null,
    },
    { label: t('Embeddings tied'), value: overview.tied ? t('yes') : t('no'), exact: null, note: null },
  ];
  if (experts !== null) {
    rows.push({
      label: t('Experts'),
      value: `${t('{0} per layer', grouped(experts.perLayer))}${experts.topK === null ? '' : `, top-${String(experts.topK)}`}${experts.shared > 0 ? `, ${t('{0} shared', experts.shared)}` : ''}`,
      exact: null,
      note: null,
    });
    if (experts.width !== null)
      rows.push({
        label: t('Expert width'),
        value: grouped(experts.width),
        exact: String(experts.width),
        note: null,
      });
    if (experts.layout !== null)
      rows.push({ label: t('Expert layout'), value: experts.layout, exact: null, note: null });
  }
  if (overview.kvCache !== null)
    rows.push({
      label: t('KV cache per 1,000 tokens'),
      value: `${bytesText(overview.kvCache.bytesPer1kTokens, unitBase)} (${overview.kvCache.dtype})`,
      exact: String(overview.kvCache.bytesPer1kTokens),
      note: overview.kvCache.how,
    });
  else
    rows.push({
      label: t('KV cache per 1,000 tokens'),
      value: t('unknown: the config does not tell'),
      exact: null,
      note: null,
    });
  append(rows, [...overview.facts, { label: t('Path'), value: overview.path, exact: overview.path, note: null }]);
  return html`<table class="facts">
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr>
            <th scope="row">${row.label}</th>
            <td>
              <div>
                <span class="grow"
                  >${visible(row.value)}${row.note === null ? nothing : html`<br /><span class="dim">${visible(row.note)}</span>`}</span
                >
                ${row.exact === null ? nothing : html`<moe-copy .text=${row.exact} what=${row.label}></moe-copy>`}
              </div>
            </td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** What the weights take at each precision. */
export function memory(overview: Overview, unitBase: UnitBase): TemplateResult {
  if (overview.memory.length === 0)
    return html`<p class="dim">${t('Not known: the parameters could not be counted.')}</p>`;
  const active = overview.memory.some(({ activeBytes }) => activeBytes !== null);
  return html`<table>
    <thead>
      <tr>
        <th>${t('Precision')}</th>
        <th class="num">${t('All weights')}</th>
        ${active ? html`<th class="num">${t('Active per token')}</th>` : nothing}
      </tr>
    </thead>
    <tbody>
      ${overview.memory.map(
        (line) =>
          html`<tr>
            <td>${line.dtype}${line.note === null ? nothing : html`<br /><span class="dim">${line.note}</span>`}</td>
            <td class="num" title=${t('{0} bytes', grouped(line.bytes))}>${bytesText(line.bytes, unitBase)}</td>
            ${
              active
                ? html`<td class="num">${line.activeBytes === null ? '–' : bytesText(line.activeBytes, unitBase)}</td>`
                : nothing
            }
          </tr>`,
      )}
    </tbody>
  </table>`;
}
