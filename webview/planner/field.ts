/** One field of the recipe: its control by kind, where its value comes from, what is wrong with it. Fires `moe-change`. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { JsonValue } from '../../src/common/json.ts';
import type { RecipeChange, RecipeField } from '../../src/protocol/planning.ts';
import { isSet, parseText, resolvedText, shownText } from '../lib/fields.ts';
import { visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import '../parts/select.ts';
import './prompts.ts';
import { severityIcon } from '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { checkedOf, textOf } from '../toolkit.ts';

/** What a `moe-pick` event asks for. */
export interface PickDetail {
  readonly what: 'base' | 'parent';
  readonly index: number | null;
}

interface Parent {
  readonly path: string;
  readonly experts: number;
}

@customElement('moe-recipe-field')
export class MoeRecipeField extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        padding-block: 6px;
      }
      :host(.flash) {
        outline: 2px solid var(--vscode-focusBorder, currentColor);
        outline-offset: 2px;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        gap: 0 6px;
        align-items: center;
        min-height: 24px;
      }
      .head .name {
        font-weight: 600;
      }
      .control {
        display: flex;
        gap: 6px;
        align-items: center;
        min-width: 0;
      }
      .control > :first-child {
        flex: 1 1 auto;
        min-width: 0;
      }
      vscode-text-area {
        width: 100%;
      }
      .about {
        font-size: 0.95em;
      }
      .bad {
        color: var(--vscode-errorForeground, inherit);
        display: flex;
        gap: 6px;
      }
      .parent {
        display: grid;
        grid-template-columns: minmax(0, 1fr) 64px auto auto;
        gap: 4px;
        margin-block-end: 4px;
        align-items: center;
      }
      .parent vscode-text-field {
        min-width: 0;
        --input-min-width: 0;
      }
      ul {
        list-style: none;
        margin: 0;
        padding: 0;
      }
    `,
  ];

  @property({ attribute: false }) field: RecipeField | null = null;
  /** The help text is shown. */
  @property({ type: Boolean }) explain = false;
  @state() private wrong = '';
  /** What is typed and not yet the recipe's. */
  @state() private draft: string | null = null;

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('field')) {
      const before = changed.get('field') as RecipeField | null | undefined;
      // A new value from the document replaces what was typed.
      if (
        before === undefined ||
        before === null ||
        JSON.stringify(before.value) !== JSON.stringify(this.field?.value)
      ) {
        this.draft = null;
        this.wrong = '';
      }
    }
  }

  override render(): TemplateResult | typeof nothing {
    const { field } = this;
    if (field === null) return nothing;
    const resolved = resolvedText(field);
    return html`<div class="head">
        <span class="name" id="name">${field.label}</span>
        <span class="dim" title=${field.origin}>${isSet(field) ? t('set') : field.origin}</span>
        ${resolved === null ? nothing : html`<span class="tag">${icon('arrow-right')}${visible(resolved)}</span>`}
        <span class="grow"></span>
        ${
          isSet(field)
            ? html`<button
                class="tool"
                type="button"
                title=${t('Back to the default: {0}', field.label)}
                @click=${() => {
                  this.change({ op: 'remove', path: field.path });
                }}
              >
                ${icon('discard')}<span class="hidden-text">${t('Back to the default: {0}', field.label)}</span>
              </button>`
            : nothing
        }
        <button
          class="tool"
          type="button"
          aria-expanded=${String(this.explain)}
          title=${t('About {0}', field.label)}
          @click=${() => (this.explain = !this.explain)}
        >
          ${icon('question')}<span class="hidden-text">${t('About {0}', field.label)}</span>
        </button>
      </div>
      ${this.control(field)}
      ${
        this.explain
          ? html`<p class="about dim break">
              ${field.about} ${t('Expected: {0}.', field.expected)} <code>${field.field}</code>,
              ${t('from {0}', field.origin)}.
            </p>`
          : nothing
      }
      ${field.disabled === null ? nothing : html`<p class="about dim break">${icon('circle-slash')} ${field.disabled}</p>`}
      ${this.wrong === '' ? nothing : html`<p class="bad" role="alert">${severityIcon('error')}<span class="break">${this.wrong}</span></p>`}
      ${
        field.problems.length === 0
          ? nothing
          : html`<ul role="list">
              ${field.problems.map(
                (problem) =>
                  html`<li class="bad">
                    ${severityIcon(problem.severity)}
                    <span class="break"
                      >${visible(problem.message)}${problem.hint === null ? nothing : html` <span class="dim">${problem.hint}</span>`}</span
                    >
                  </li>`,
              )}
            </ul>`
      }`;
  }

  private control(field: RecipeField): TemplateResult {
    const off = field.disabled !== null;
    const text = this.draft ?? shownText(field);
    const invalid = this.wrong !== '' || field.problems.some(({ severity }) => severity === 'error');
    switch (field.control) {
      case 'switch':
        return html`<vscode-checkbox
          ?disabled=${off}
          .checked=${field.value === true}
          @change=${(event: Event) => {
            if (checkedOf(event) !== (field.value === true)) this.set(checkedOf(event));
          }}
          >${field.label}</vscode-checkbox
        >`;
      case 'choice': {
        const known = field.choices.some(({ value }) => value === text);
        return html`<div class="control">
          <moe-select
            quiet
            label=${field.label}
            ?disabled=${off}
            .choices=${known ? field.choices : [{ value: text, label: text === '' ? t('(not set)') : text }, ...field.choices]}
            .value=${text}
            @change=${(event: CustomEvent<string>) => {
              event.stopPropagation();
              this.commit(event.detail);
            }}
          ></moe-select>
        </div>`;
      }
      case 'json':
        return html`<vscode-text-area
          rows="4"
          resize="vertical"
          aria-label=${field.label}
          ?disabled=${off}
          .value=${text}
          @input=${(event: Event) => (this.draft = textOf(event))}
          @change=${(event: Event) => {
            this.commit(textOf(event));
          }}
        ></vscode-text-area>`;
      case 'prompts':
        return html`<moe-prompts .field=${field}></moe-prompts>`;
      case 'parents':
        return this.parents(field);
      default:
        return html`<div class="control">
          <vscode-text-field
            aria-label=${field.label}
            aria-invalid=${invalid ? 'true' : nothing}
            ?disabled=${off}
            .value=${text}
            placeholder=${field.value === null ? t('not set') : nothing}
            @input=${(event: Event) => (this.draft = textOf(event))}
            @change=${(event: Event) => {
              this.commit(textOf(event));
            }}
            @keydown=${this.pressed}
          ></vscode-text-field>
          ${
            field.control === 'path'
              ? html`<vscode-button
                  appearance="secondary"
                  ?disabled=${off}
                  aria-label=${t('Choose {0}', field.label)}
                  @click=${() => {
                    this.pick('base', null);
                  }}
                  >${t('Choose…')}</vscode-button
                >`
              : nothing
          }
        </div>`;
    }
  }

  private parents(field: RecipeField): TemplateResult {
    const list = parentsOf(field.value);
    const off = field.disabled !== null;
    return html`<ul role="list">
        ${list.map(
          (parent, index) =>
            html`<li class="parent">
              <vscode-text-field
                aria-label=${t('Path of parent {0}', index + 1)}
                ?disabled=${off}
                .value=${parent.path}
                @change=${(event: Event) => {
                  this.change({ op: 'set', path: [...field.path, index, 'path'], value: textOf(event) });
                }}
              ></vscode-text-field>
              <vscode-text-field
                aria-label=${t('Experts of parent {0}', index + 1)}
                ?disabled=${off}
                .value=${String(parent.experts)}
                @change=${(event: Event) => {
                  const count = Number(textOf(event));
                  if (Number.isInteger(count) && count >= 1)
                    this.change({ op: 'set', path: [...field.path, index, 'experts'], value: count });
                  else this.wrong = t('expected a whole number of experts, 1 or more');
                }}
              ></vscode-text-field>
              <button
                class="tool"
                type="button"
                ?disabled=${off}
                title=${t('Choose parent {0}', index + 1)}
                @click=${() => {
                  this.pick('parent', index);
                }}
              >
                ${icon('folder-opened')}<span class="hidden-text">${t('Choose parent {0}', index + 1)}</span>
              </button>
              <button
                class="tool"
                type="button"
                ?disabled=${off}
                title=${t('Remove parent {0}', index + 1)}
                @click=${() => {
                  this.change({ op: 'remove', path: list.length === 1 ? field.path : [...field.path, index] });
                }}
              >
                ${icon('remove')}<span class="hidden-text">${t('Remove parent {0}', index + 1)}</span>
              </button>
            </li>`,
        )}
      </ul>
      <button
        class="tool"
        type="button"
        ?disabled=${off}
        @click=${() => {
          this.pick('parent', null);
        }}
      >
        ${icon('add')}${t('Add a parent…')}
      </button>`;
  }

  private readonly pressed = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && this.draft !== null) {
      event.preventDefault();
      this.draft = null;
      this.wrong = '';
    }
  };

  private commit(text: string): void {
    const { field } = this;
    if (field === null) return;
    if (text === shownText(field)) {
      this.draft = null;
      this.wrong = '';
      return;
    }
    this.draft = text;
    const parsed = parseText(field, text);
    if (!parsed.ok) {
      this.wrong = parsed.message;
      return;
    }
    this.wrong = '';
    this.set(parsed.value);
  }

  private set(value: JsonValue): void {
    if (this.field !== null) this.change({ op: 'set', path: this.field.path, value });
  }

  private change(change: RecipeChange): void {
    this.dispatchEvent(new CustomEvent<RecipeChange>('moe-change', { detail: change, bubbles: true, composed: true }));
  }

  private pick(what: PickDetail['what'], index: number | null): void {
    this.dispatchEvent(
      new CustomEvent<PickDetail>('moe-pick', { detail: { what, index }, bubbles: true, composed: true }),
    );
  }
}

/** The parents of a recipe value, leniently. */
export function parentsOf(value: unknown): readonly Parent[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each: unknown): Parent[] => {
    if (typeof each !== 'object' || each === null) return [];
    const { path, experts } = each as { path?: unknown; experts?: unknown };
    return [{ path: typeof path === 'string' ? path : '', experts: typeof experts === 'number' ? experts : 1 }];
  });
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-recipe-field': MoeRecipeField;
  }
}
