/** Which output file holds what: one bar a file, shares by kind; the same as a table. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PlanSummary, ShardBar } from '../../src/protocol/planning.ts';
import { bytesText, grouped, plural, shareText, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { props } from '../parts/props.ts';
import { base } from '../parts/styles.ts';
import { key, t } from '../strings.ts';

type Kind = ShardBar['parts'][number]['kind'];
const KINDS: readonly (readonly [Kind, string])[] = [
  ['expert', key('experts')],
  ['shared', key('shared expert')],
  ['router', key('router')],
  ['attention', key('attention')],
  ['embed', key('embedding')],
  ['head', key('output head')],
  ['norm', key('norms')],
  ['other', key('other')],
];

@customElement('moe-shard-bar')
export class MoeShardBar extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
      }
      .files {
        display: flex;
        flex-direction: column;
        gap: 4px;
        max-height: 300px;
        overflow: auto;
        padding: 2px;
      }
      .file {
        display: grid;
        grid-template-columns: minmax(0, 220px) minmax(60px, 1fr) 84px;
        gap: 8px;
        align-items: center;
      }
      .file .name {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .track {
        height: 16px;
        background: none;
      }
      .bar {
        display: flex;
        height: 100%;
        min-width: 3px;
        border: 1px solid var(--vscode-contrastBorder, transparent);
        overflow: hidden;
        border-radius: 2px;
      }
      .bar i,
      .key {
        background-color: var(--fill);
        background-image: var(--hatch, none);
      }
      .bar i + i {
        border-inline-start: 1px solid var(--vscode-editor-background);
      }
      .key {
        display: inline-block;
        width: 12px;
        height: 12px;
        border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
      }
      .expert {
        --fill: var(--moe-hot);
      }
      .shared {
        --fill: var(--moe-shared);
        --hatch: repeating-linear-gradient(45deg, transparent 0 3px, rgb(0 0 0 / 35%) 3px 4px);
      }
      .router {
        --fill: var(--moe-router);
        --hatch: repeating-linear-gradient(-45deg, transparent 0 3px, rgb(0 0 0 / 35%) 3px 4px);
      }
      .attention {
        --fill: var(--vscode-charts-blue, #3794ff);
      }
      .embed {
        --fill: var(--vscode-charts-green, #4a8a4a);
        --hatch: repeating-linear-gradient(0deg, transparent 0 3px, rgb(0 0 0 / 35%) 3px 4px);
      }
      .head {
        --fill: var(--vscode-charts-yellow, #a88a20);
        --hatch: repeating-linear-gradient(90deg, transparent 0 3px, rgb(0 0 0 / 35%) 3px 4px);
      }
      .norm,
      .other {
        --fill: var(--vscode-charts-lines, #808080);
      }
      .legend {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 12px;
        margin-block: 6px;
      }
      .legend span {
        display: inline-flex;
        gap: 5px;
        align-items: center;
      }
      @container (max-width: 520px) {
        .file {
          grid-template-columns: minmax(0, 1fr) 84px;
        }
        .track {
          grid-column: 1 / -1;
          grid-row: 2;
        }
      }
    `,
  ];

  @property({ attribute: false }) plan: PlanSummary | null = null;
  @state() private table = false;
  @state() private limit = 60;

  override render(): TemplateResult | typeof nothing {
    const { plan } = this;
    if (plan === null) return nothing;
    const shown = plan.shards.slice(0, this.limit);
    const largest = plan.shards.reduce((most, { bytes }) => Math.max(most, bytes), 1);
    const present = new Set(plan.shards.flatMap(({ parts }) => parts.map(({ kind }) => kind)));
    const left = plan.shards.length - shown.length;
    return html`<div class="row">
        <p class="grow">${this.summary(plan)}</p>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.table)}
          @click=${() => (this.table = !this.table)}
        >
          ${icon('table')}${t('As a table')}
        </button>
      </div>
      ${
        this.table
          ? this.asTable(shown)
          : html`<div class="legend dim" aria-hidden="true">
                ${KINDS.filter(([kind]) => present.has(kind)).map(
                  ([kind, word]) => html`<span><i class="key ${kind}"></i>${t(word)}</span>`,
                )}
              </div>
              <div class="files" role="list" tabindex="0" aria-label=${t('Output files')}>
                ${shown.map(
                  (shard) =>
                    html`<div class="file" role="listitem" title=${this.words(shard)}>
                      <span class="name mono" aria-hidden="true">${visible(shard.name)}</span>
                      <span class="hidden-text">${this.words(shard)}</span>
                      <div class="track" aria-hidden="true">
                        <div class="bar" ${props({ width: `${((shard.bytes / largest) * 100).toFixed(2)}%` })}>
                          ${shard.parts.map(
                            (part) =>
                              html`<i
                                class=${part.kind}
                                ${props({ 'flex-grow': String(part.bytes), 'flex-basis': '0' })}
                              ></i>`,
                          )}
                        </div>
                      </div>
                      <span class="num" aria-hidden="true">${bytesText(shard.bytes)}</span>
                    </div>`,
                )}
              </div>`
      }
      ${
        left > 0
          ? html`<button class="link" type="button" @click=${() => (this.limit += 500)}>
              ${t('Show {0} more', grouped(Math.min(500, left)))}
            </button>`
          : nothing
      }
      ${plan.moreShards > 0 ? html`<p class="dim">${t('{0} further files are not listed.', grouped(plan.moreShards))}</p>` : nothing}`;
  }

  private summary(plan: PlanSummary): string {
    const clones = plan.shards.filter(({ cloneOf }) => cloneOf !== null).length;
    const words = t('{0}, {1} in all.', plural(plan.files, t('file')), bytesText(plan.bytes));
    if (clones === 0) return words;
    const shared =
      clones === 1
        ? t('1 of them shares its data with another by cloning.')
        : t('{0} of them share their data with others by cloning.', grouped(clones));
    return `${words} ${shared}`;
  }

  private words(shard: ShardBar): string {
    const parts = shard.parts.map(
      ({ label, bytes }) => `${visible(label)} ${bytesText(bytes)} (${shareText(bytes, shard.bytes)})`,
    );
    const clone = shard.cloneOf === null ? '' : ` ${t('Shares its data with {0}.', shard.cloneOf)}`;
    return `${visible(shard.name)}: ${bytesText(shard.bytes)}, ${plural(shard.tensors, t('tensor'))}; ${parts.join(', ')}.${clone}`;
  }

  private asTable(shards: readonly ShardBar[]): TemplateResult {
    return html`<div class="scroll files" tabindex="0" role="region" aria-label=${t('Output files')}>
      <table>
        <thead>
          <tr>
            <th>${t('File')}</th>
            <th class="num">${t('Size')}</th>
            <th class="num">${t('Tensors')}</th>
            <th>${t('What is in it')}</th>
          </tr>
        </thead>
        <tbody>
          ${shards.map(
            (shard) =>
              html`<tr>
                <td class="mono break">
                  ${visible(shard.name)}${shard.cloneOf === null ? nothing : html`<br /><span class="dim">${t('clone of {0}', shard.cloneOf)}</span>`}
                </td>
                <td class="num" title=${grouped(shard.bytes)}>${bytesText(shard.bytes)}</td>
                <td class="num">${grouped(shard.tensors)}</td>
                <td>
                  ${shard.parts.map(({ label, bytes }) => `${visible(label)} ${shareText(bytes, shard.bytes)}`).join(', ')}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }
}
