/** The plan: exactness, totals, warnings, rows from dense to MoE, files, sources. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { Endpoint } from '../../src/protocol/page.ts';
import type { PlanSummary } from '../../src/protocol/planning.ts';
import type { plannerCommand } from '../../src/protocol/planner.ts';
import type { ParamsOf } from '../../src/protocol/define.ts';
import type { IconName } from '../lib/icons.ts';
import {
  bytesLong,
  bytesText,
  durationText,
  flopsText,
  grouped,
  plural,
  rangesText,
  shareText,
  shortCount,
  visible,
} from '../lib/format.ts';
import '../parts/copy.ts';
import { icon } from '../parts/icon.ts';
import { severityIcon } from '../parts/status.ts';
import { key, t } from '../strings.ts';
import './rows.ts';
import './shards.ts';

export type PlannerCommand = ParamsOf<typeof plannerCommand>['command'];

/** What of the plan is shown, and what its controls do. */
export interface ShownPlan {
  /** The recipe changed: the plan is made again. */
  readonly again: boolean;
  readonly asText: boolean;
  /** The plan as text, once it is there. */
  readonly text: string | null;
  readonly opened: readonly string[];
  readonly endpoint: Endpoint | null;
  readonly run: (command: PlannerCommand, argument: string) => void;
  readonly showText: (asText: boolean) => void;
  readonly open: (rows: readonly string[]) => void;
}

const EXACT: Readonly<Record<PlanSummary['exactness']['class'], readonly [IconName, string, string]>> = {
  'bit-exact': ['verified-filled', 'ok', key('Bit-exact')],
  exact: ['pass', 'ok', key('Exact')],
  approximate: ['warning', 'approximate', key('Approximate')],
  'not-preserving': ['error', 'broken', key('Does not keep the function')],
};

/** The right side of the editor. */
export function planView(plan: PlanSummary, shown: ShownPlan): TemplateResult {
  return html`${shown.again ? html`<moe-progress what=${t('Planning the changed recipe; below is the plan before')}></moe-progress>` : nothing}
    ${exactness(plan)}
    <section aria-label=${t('Totals')}>${totals(plan)}</section>
    ${
      plan.planOnly === null
        ? nothing
        : html`<div class="note">
            ${icon('info', 'info')}
            <div class="break">${visible(plan.planOnly)}</div>
          </div>`
    }
    ${
      plan.warnings.length === 0
        ? nothing
        : html`<section>
            <h2>${t('Warnings ({0})', grouped(plan.warnings.length))}</h2>
            <ul class="plain">
              ${plan.warnings.slice(0, 100).map(
                (warning) =>
                  html`<li>
                    ${severityIcon('warning')}<span class="break"
                      >${visible(warning.message)} <span class="dim mono">${warning.code}</span></span
                    >
                  </li>`,
              )}
            </ul>
            ${plan.warnings.length > 100 ? html`<p class="dim">${t('{0} more are in the plan as text.', grouped(plan.warnings.length - 100))}</p>` : nothing}
          </section>`
    }
    <section>
      <div class="row">
        <h2 class="grow">${t('From dense to MoE')}</h2>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(shown.asText)}
          @click=${() => {
            shown.showText(!shown.asText);
          }}
        >
          ${icon('list-flat')}${t('As text')}
        </button>
        <button
          class="tool"
          type="button"
          @click=${() => {
            shown.run('savePlan', plan.hash);
          }}
        >
          ${icon('save')}${t('Save plan…')}
        </button>
      </div>
      <p class="dim">
        ${t(
          '{0} of {1} layers become MoE{2}; {3} in {4}.',
          grouped(plan.moeLayers.length),
          grouped(plan.layers),
          plan.moeLayers.length === plan.layers || plan.moeLayers.length === 0
            ? ''
            : ` (${rangesText(plan.moeLayers)})`,
          plural(plan.tensors, t('tensor')),
          plural(plan.files, t('file')),
        )}
      </p>
      ${
        shown.asText
          ? asText(shown.text)
          : html`<moe-plan-rows
              .plan=${plan}
              .endpoint=${shown.endpoint}
              .opened=${shown.opened}
              @moe-opened=${(event: CustomEvent<string[]>) => {
                shown.open(event.detail);
              }}
            ></moe-plan-rows>`
      }
    </section>
    <section>
      <h2>${t('Output files')}</h2>
      <moe-shard-bar .plan=${plan}></moe-shard-bar>
    </section>
    ${
      plan.assumptions.length === 0
        ? nothing
        : html`<section>
            <h2>${t('Assumptions')}</h2>
            <ul>
              ${plan.assumptions.map((assumption) => html`<li class="break">${visible(assumption)}</li>`)}
            </ul>
          </section>`
    }
    <section>
      <details>
        <summary>${t('Sources and config')}</summary>
        <ul>
          ${plan.sources.map(
            (source) =>
              html`<li class="break">
                <button
                  class="link mono"
                  type="button"
                  @click=${() => {
                    shown.run('openSource', source.path);
                  }}
                >
                  ${visible(source.path)}
                </button>
                ${source.modelType ?? source.format},
                ${source.parameters === null ? t('parameters unknown') : t('{0} parameters', shortCount(source.parameters))},
                ${bytesText(source.bytes)}
              </li>`,
          )}
        </ul>
        <div class="row">
          <moe-copy
            .text=${JSON.stringify(plan.config, null, 2)}
            what=${t('config.json')}
            label=${t('Copy config.json')}
          ></moe-copy>
        </div>
        <pre tabindex="0" role="region" aria-label="config.json">${JSON.stringify(plan.config, null, 2)}</pre>
      </details>
      <p class="dim">
        ${t('Planned in {0}.', durationText(plan.seconds))} ${t('Plan')} <code>${plan.hash.slice(0, 16)}</code>
        <moe-copy .text=${plan.hash} what=${t('the plan’s hash')}></moe-copy>
      </p>
    </section>`;
}

function exactness(plan: PlanSummary): TemplateResult {
  const [name, tone, words] = EXACT[plan.exactness.class];
  return html`<div class="exact ${tone}">
    ${icon(name)}
    <div><strong>${t(words)}</strong> <span class="reason break">– ${visible(plan.exactness.reason)}</span></div>
  </div>`;
}

function totals(plan: PlanSummary): TemplateResult {
  const tile = (label: string, value: string, exact: number, note: string): TemplateResult =>
    html`<div>
      <dt>${label}</dt>
      <dd>
        <strong title=${grouped(exact)}>${value}<moe-copy text=${String(exact)} what=${label}></moe-copy></strong>
        <div class="dim">${note}</div>
      </dd>
    </div>`;
  const { flops } = plan;
  const room =
    plan.freeBytes === null
      ? ''
      : plan.freeBytes < plan.physicalBytes
        ? t('only {0} are free', bytesText(plan.freeBytes))
        : t('{0} are free', bytesText(plan.freeBytes));
  return html`<dl class="totals">
      ${tile(t('Total parameters'), shortCount(plan.total), plan.total, t('dense: {0}', shortCount(plan.dense)))}
      ${tile(t('Active per token'), shortCount(plan.active), plan.active, t('{0} of all', shareText(plan.active, plan.total)))}
      ${tile(t('Size of the files'), bytesText(plan.bytes), plan.bytes, t('source: {0}', bytesText(plan.sourceBytes)))}
      ${tile(
        t('On disk'),
        bytesText(plan.physicalBytes),
        plan.physicalBytes,
        [plan.physicalKnown ? '' : t('without cloning, as no output folder is chosen'), room]
          .filter((each) => each !== '')
          .join('; '),
      )}
      ${tile(t('Memory to write it'), bytesText(plan.peakMemoryBytes), plan.peakMemoryBytes, plan.peakMemoryReason)}
      ${tile(
        t('Forward FLOPs per token'),
        flopsText(flops.forward2N),
        flops.forward2N,
        t('dense: {0}; 2 × active parameters', flopsText(flops.dense.forward2N)),
      )}
    </dl>
    <p class="dim">
      ${t('Training at {0} tokens: {1} per token (dense: {2}).', grouped(flops.sequence), flopsText(flops.trainingCausal), flopsText(flops.dense.trainingCausal))}
      ${flops.definition} <span class="hidden-text">${bytesLong(plan.bytes)}</span>
    </p>`;
}

function asText(text: string | null): TemplateResult {
  return text === null
    ? html`<moe-progress what=${t('Writing the plan as text')}></moe-progress>`
    : html`<div class="row"><moe-copy .text=${text} what=${t('the plan as text')} label=${t('Copy')}></moe-copy></div>
        <pre tabindex="0" role="region" aria-label=${t('The plan as text')}>${text}</pre>`;
}
