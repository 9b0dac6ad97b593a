/** What stands above recipe and plan: trust, troubles, problems of the recipe, the job. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { WireRecipeProblem } from '../../src/protocol/planning.ts';
import type { PlannerState } from '../../src/protocol/planner.ts';
import { plural, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { severityIcon } from '../parts/status.ts';
import { t } from '../strings.ts';
import { jobPanel } from './job.ts';
import type { JobActions } from './job.ts';

export interface NoticeActions {
  readonly trust: () => void;
  /** Puts away what went wrong last. */
  readonly close: () => void;
  readonly job: JobActions;
}

/** All that is to be said; `trouble` is why the last edit or command did not do what was asked, or ''. */
export function notices(planner: PlannerState, trouble: string, actions: NoticeActions): TemplateResult {
  const general = planner.problems.filter(({ field }) => !planner.fields.some((each) => each.field === field));
  const errors = planner.problems.filter(({ severity }) => severity === 'error').length;
  return html`${
    planner.restricted
      ? html`<div class="note warning">
          ${icon('workspace-untrusted', 'warning')}
          <div>
            ${t('Restricted Mode: the plan is shown, but nothing runs until you trust this folder.')}
            <button class="link" type="button" @click=${actions.trust}>${t('Manage trust')}</button>
          </div>
        </div>`
      : nothing
  }
  ${
    trouble === ''
      ? nothing
      : html`<div class="note error" role="alert">
          ${icon('error', 'error')}
          <div class="grow break">${visible(trouble)}</div>
          <button class="tool" type="button" title=${t('Close')} @click=${actions.close}>
            ${icon('close')}<span class="hidden-text">${t('Close')}</span>
          </button>
        </div>`
  }
  ${
    errors > 0
      ? html`<div class="note error">
          ${icon('error', 'error')}
          <div>
            ${t('{0} in the recipe: the plan is made when there is none.', plural(errors, t('error')))}
            ${problems(general)}
          </div>
        </div>`
      : general.length > 0
        ? html`<div class="note warning">
            ${icon('warning', 'warning')}
            <div>${problems(general)}</div>
          </div>`
        : nothing
  }
  ${planner.job === null ? nothing : jobPanel(planner.job, actions.job, planner.restricted)}`;
}

function problems(all: readonly WireRecipeProblem[]): TemplateResult | typeof nothing {
  if (all.length === 0) return nothing;
  return html`<ul class="plain">
    ${all.map(
      (problem) =>
        html`<li>
          ${severityIcon(problem.severity)}
          <span class="break"
            >${visible(problem.message)}${problem.at === null ? nothing : html` <span class="dim">${t('line {0}', problem.at.line)}</span>`}${
              problem.hint === null ? nothing : html` <span class="dim">${problem.hint}</span>`
            }</span
          >
        </li>`,
    )}
  </ul>`;
}
