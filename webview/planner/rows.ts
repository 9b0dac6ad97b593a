/** Dense → MoE by pattern rows that open to their tensors, with source slice, bytes and file. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { PlanRow, PlanSummary, WirePlanTensor } from '../../src/protocol/planning.ts';
import { plannerRow } from '../../src/protocol/planner.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { bytesLong, bytesText, grouped, plural, shapeText, visible } from '../lib/format.ts';
import { Pages } from '../lib/pages.ts';
import { PlanLines } from '../lib/plan-rows.ts';
import type { PlanLine } from '../lib/plan-rows.ts';
import { icon } from '../parts/icon.ts';
import { base } from '../parts/styles.ts';
import type { GridColumn, GridRow, ToggleDetail, WantDetail } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';

interface RowPage {
  readonly start: number;
  readonly rows: readonly WirePlanTensor[];
}

const PAGE = 100;

/** Fires `moe-opened` with the ids of the opened rows. */
@customElement('moe-plan-rows')
export class MoePlanRows extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
      }
      moe-virtual-grid {
        height: var(--moe-rows-height, 360px);
      }
      .details {
        display: flex;
        gap: 8px;
        align-items: flex-start;
        padding: 8px;
        border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
        border-block-start: 0;
      }
      dl {
        flex: 1 1 auto;
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 2px 12px;
        margin: 0;
      }
      dt {
        color: var(--moe-dim);
      }
      dd {
        margin: 0;
      }
    `,
  ];

  @property({ attribute: false }) plan: PlanSummary | null = null;
  @property({ attribute: false }) endpoint: Endpoint | null = null;
  @property({ attribute: false }) opened: readonly string[] = [];
  @state() private version = 0;
  @state() private failure: unknown = null;
  @state() private active = 0;
  private lines = new PlanLines([], new Set(), () => null);
  private readonly pages = new Map<string, Pages<WirePlanTensor, RowPage>>();
  private hash = '';

  protected override willUpdate(changed: PropertyValues): void {
    const { plan } = this;
    if (plan === null) return;
    if (plan.hash !== this.hash) {
      for (const pages of this.pages.values()) pages.reset();
      this.pages.clear();
      this.hash = plan.hash;
      this.failure = null;
    }
    if (changed.has('plan') || changed.has('opened')) {
      this.lines = new PlanLines(plan.rows, new Set(this.opened), (row, at) => this.pages.get(row.id)?.at(at) ?? null);
      this.version++;
    }
  }

  override render(): TemplateResult | typeof nothing {
    const { plan } = this;
    if (plan === null) return nothing;
    return html`${
        this.failure === null
          ? nothing
          : html`<div class="note error" role="alert">
              ${icon('error', 'error')}
              <div class="break">${errorPageOf('', this.failure).message}</div>
            </div>`
      }
      <moe-virtual-grid
        tree
        label=${t('From dense to MoE, by pattern')}
        .columns=${
          [
            { id: 'source', title: t('Dense'), track: 'minmax(170px, 1.3fr)' },
            { id: 'target', title: t('MoE'), track: 'minmax(170px, 1.3fr)' },
            { id: 'how', title: t('How'), track: 'minmax(110px, 1fr)', from: 640 },
            { id: 'tensors', title: t('Tensors'), track: '74px', end: true, from: 520 },
            { id: 'bytes', title: t('Size'), track: '88px', end: true },
          ] satisfies GridColumn[]
        }
        .total=${this.lines.total}
        .rowAt=${this.rowAt}
        .version=${this.version}
        .nothing=${t('The plan writes nothing.')}
        @moe-want=${this.want}
        @moe-active=${(event: CustomEvent<number>) => (this.active = event.detail)}
        @moe-toggle=${(event: CustomEvent<ToggleDetail>) => {
          this.toggle(event.detail.index);
        }}
        @moe-open=${(event: CustomEvent<number>) => {
          this.toggle(event.detail);
        }}
      ></moe-virtual-grid>
      ${this.details()}`;
  }

  /** The row in focus in full: cells are cut, and tooltips are for pointers only. */
  private details(): TemplateResult | typeof nothing {
    const line = this.lines.lineAt(this.active);
    if (line === null || (line.kind === 'tensor' && line.tensor === null)) return nothing;
    const facts: [string, string][] = [];
    if (line.kind === 'pattern') {
      const { row } = line;
      facts.push(
        [t('Dense'), `${row.layers === '' ? '' : `${t('layers {0}', row.layers)}: `}${visible(row.source)}`],
        [t('MoE'), `${row.experts === '' ? '' : `${t('experts {0}', row.experts)}: `}${visible(row.target)}`],
        [t('How'), row.copied ? t('{0} (same bytes)', row.how) : row.how],
        [t('Size'), t('{0} in {1}', bytesLong(row.bytes), plural(row.tensors, t('tensor')))],
      );
    } else if (line.tensor !== null) {
      const { tensor } = line;
      facts.push(
        [t('From'), tensor.sources.length === 0 ? t('(new)') : tensor.sources.map(sourceText).join('; ')],
        [t('To'), visible(tensor.name)],
        [t('How'), tensor.how],
        [t('Type and shape'), `${tensor.dtype}, ${shapeText(tensor.shape)}`],
        [t('Size'), bytesLong(tensor.bytes)],
        [t('File'), visible(tensor.file)],
      );
    }
    const copied = facts.map(([name, value]) => `${name}: ${value}`).join('\n');
    return html`<div class="details" role="group" aria-label=${t('The row in focus')}>
      <dl>
        ${facts.map(
          ([name, value]) =>
            html`<dt>${name}</dt>
              <dd class="break">${value}</dd>`,
        )}
      </dl>
      <moe-copy .text=${copied} what=${t('this row')}></moe-copy>
    </div>`;
  }

  private readonly rowAt = (index: number): GridRow | null => {
    const line = this.lines.lineAt(index);
    if (line === null) return null;
    if (line.kind === 'pattern')
      return {
        key: line.row.id,
        label: line.row.source,
        level: 1,
        expanded: line.open,
        place: { position: line.at + 1, siblings: this.plan?.rows.length ?? 0 },
        cell: (column) => patternCell(line.row, column),
      };
    if (line.tensor === null) return null;
    const { tensor } = line;
    return {
      key: `${line.row.id} ${String(line.at)}`,
      label: tensor.name,
      level: 2,
      expanded: null,
      place: { position: line.at + 1, siblings: line.row.tensors },
      cell: (column) => tensorCell(tensor, column),
    };
  };

  private readonly want = (event: CustomEvent<WantDetail>): void => {
    const wanted = new Map<PlanRow, { first: number; end: number }>();
    for (let index = event.detail.first; index < event.detail.end; index++) {
      const line: PlanLine | null = this.lines.lineAt(index);
      if (line?.kind !== 'tensor') continue;
      const range = wanted.get(line.row);
      if (range === undefined) wanted.set(line.row, { first: line.at, end: line.at + 1 });
      else range.end = line.at + 1;
    }
    for (const [row, { first, end }] of wanted) this.pagesOf(row).want(first, end);
  };

  private pagesOf(row: PlanRow): Pages<WirePlanTensor, RowPage> {
    const known = this.pages.get(row.id);
    if (known !== undefined) return known;
    const made = new Pages<WirePlanTensor, RowPage>({
      size: PAGE,
      keep: 20,
      fetch: async (start, count, signal) => {
        if (this.endpoint === null) throw new Error('not connected');
        const page = await this.endpoint.request(
          plannerRow,
          { hash: this.hash, row: row.id, start, count },
          { signal },
        );
        return { start: page.start, rows: page.tensors };
      },
      arrived: () => {
        this.version++;
      },
      failed: (error) => {
        this.failure = error;
      },
    });
    this.pages.set(row.id, made);
    return made;
  }

  private toggle(index: number): void {
    const line = this.lines.lineAt(index);
    if (line?.kind !== 'pattern') return;
    const { id } = line.row;
    const opened = this.opened.includes(id) ? this.opened.filter((each) => each !== id) : [...this.opened, id];
    this.dispatchEvent(new CustomEvent('moe-opened', { detail: opened }));
  }
}

function patternCell(row: PlanRow, column: string): unknown {
  switch (column) {
    case 'source':
      return html`${row.layers === '' ? nothing : html`<span class="dim">${t('layers {0}', row.layers)} </span>`}<span
          class="mono"
          title=${row.source}
          >${visible(row.source)}</span
        >`;
    case 'target':
      return html`${row.experts === '' ? nothing : html`<span class="dim">${t('experts {0}', row.experts)} </span>`}<span
          class="mono"
          title=${row.target}
          >${visible(row.target)}</span
        >`;
    case 'how':
      return html`<span title=${row.how}>${row.copied ? t('{0} (same bytes)', row.how) : row.how}</span>`;
    case 'tensors':
      return grouped(row.tensors);
    default:
      return html`<span title=${t('{0} bytes', grouped(row.bytes))}>${bytesText(row.bytes)}</span>`;
  }
}

function sourceText({ source, from, slice, bytes }: WirePlanTensor['sources'][number]): string {
  const parent = from === 0 ? '' : `${t('parent {0}', from)}: `;
  return `${parent}${visible(source)}${slice === '' ? '' : ` (${slice})`}, ${bytesText(bytes)}`;
}

function tensorCell(tensor: WirePlanTensor, column: string): unknown {
  switch (column) {
    case 'source': {
      const words = tensor.sources.map(sourceText);
      return html`<span class="mono" title=${words.join('\n')}
        >${words.length === 0 ? t('(new)') : words.join(' + ')}</span
      >`;
    }
    case 'target':
      return html`<span class="mono" title="${tensor.name}&#10;${tensor.file}">${visible(tensor.name)}</span>`;
    case 'how':
      return html`<span title=${`${tensor.how}\n${tensor.file}`}
        >${tensor.how}
        <span class="dim">${tensor.dtype} ${shapeText(tensor.shape)} · ${visible(tensor.file)}</span></span
      >`;
    case 'tensors':
      return '';
    default:
      return html`<span title=${t('{0} bytes', grouped(tensor.bytes))}>${bytesText(tensor.bytes)}</span>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-plan-rows': MoePlanRows;
  }
}
