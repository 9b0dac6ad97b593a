/** The playground: a prompt, its continuation as it comes, every token coloured by its first expert in a chosen layer. */
import { html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import * as z from 'zod/mini';
import { errorPageOf } from '../../src/protocol/errors.ts';
import {
  playgroundChanged,
  playgroundCommand,
  playgroundCopy,
  playgroundGenerate,
  playgroundReady,
} from '../../src/protocol/playground.ts';
import type { GenerateResult, PlaygroundModel, PlaygroundState } from '../../src/protocol/playground.ts';
import { durationText, grouped, shareText, visible } from '../lib/format.ts';
import { firstCounts, tokenText, tokenWords, withStep } from '../lib/tokens.ts';
import type { ShownToken } from '../lib/tokens.ts';
import type { CopyDetail } from '../parts/copy.ts';
import '../parts/copy.ts';
import { icon } from '../parts/icon.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import '../parts/select.ts';
import '../parts/status.ts';
import { t } from '../strings.ts';
import { checkedOf, textOf } from '../toolkit.ts';
import { playgroundStyles } from './styles.ts';

const savedView = z.object({
  path: z._default(z.string(), ''),
  prompt: z._default(z.string(), 'Once upon a time'),
  temperature: z._default(z.string(), '0'),
  topP: z._default(z.string(), '1'),
  seed: z._default(z.string(), '0'),
  maxTokens: z._default(z.string(), '64'),
  chat: z._default(z.boolean(), false),
  layer: z._default(z.nullable(z.number()), null),
  table: z._default(z.boolean(), false),
});
type SavedView = z.output<typeof savedView>;
type NumberName = 'temperature' | 'topP' | 'seed' | 'maxTokens';

/** Colours repeat after this many experts; the number tells them apart. */
const HUES = 8;

interface Numbers {
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxTokens: number;
}

@customElement('moe-playground')
export class MoePlayground extends LitElement {
  static override styles = playgroundStyles;

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private play: PlaygroundState | null = null;
  @state() private view: SavedView = savedView.parse({});
  @state() private tokens: readonly ShownToken[] = [];
  @state() private aborter: AbortController | null = null;
  @state() private result: GenerateResult | 'stopped' | null = null;
  @state() private failure: unknown = null;
  @state() private lost: unknown = null;
  @state() private said = '';
  @state() private chosen: number | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    const saved = savedView.safeParse(context.saved ?? {});
    if (saved.success) this.view = saved.data;
    context.endpoint.on(playgroundChanged, (next) => {
      this.take(next);
    });
    this.addEventListener('moe-copy', (event) => {
      const { text, what } = (event as CustomEvent<CopyDetail>).detail;
      void context.endpoint.request(playgroundCopy, { text, what });
    });
    this.addEventListener('moe-action', () => {
      void context.endpoint.request(playgroundCommand, { command: 'reload', argument: null });
    });
    context.endpoint.request(playgroundReady, {}).then(
      (next) => {
        this.take(next);
      },
      (error: unknown) => {
        this.lost = error;
      },
    );
  }

  private take(next: PlaygroundState): void {
    if (this.play?.status !== next.status) this.said = next.status === 'ready' ? t('The model is ready') : '';
    this.play = next;
    if (this.view.path !== next.path) this.change({ path: next.path });
  }

  private change(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
  }

  /** The numbers of the fields; a text says which of them is none. */
  private numbers(): Numbers | string {
    const { temperature, topP, seed, maxTokens } = this.view;
    const read = {
      temperature: Number(temperature),
      topP: Number(topP),
      seed: Number(seed),
      maxTokens: Number(maxTokens),
    };
    if (temperature.trim() === '' || !(read.temperature >= 0 && read.temperature <= 100))
      return t('Temperature must be a number from 0 to 100');
    if (topP.trim() === '' || !(read.topP > 0 && read.topP <= 1)) return t('Top-p must be above 0 and at most 1');
    if (seed.trim() === '' || !(Number.isSafeInteger(read.seed) && read.seed >= 0))
      return t('The seed must be a whole number');
    if (!(Number.isInteger(read.maxTokens) && read.maxTokens >= 1 && read.maxTokens <= 4096))
      return t('Tokens must be a whole number from 1 to 4096');
    return read;
  }

  private async generate(): Promise<void> {
    const { context } = this;
    const numbers = this.numbers();
    if (context === null || this.aborter !== null || typeof numbers === 'string') return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.tokens = [];
    this.result = null;
    this.failure = null;
    this.chosen = null;
    this.said = t('Generating');
    try {
      this.result = await context.endpoint.request(
        playgroundGenerate,
        { prompt: this.view.prompt, chat: this.view.chat && this.play?.model?.chatTemplate === true, ...numbers },
        {
          signal: aborter.signal,
          onProgress: (step) => {
            this.tokens = withStep(this.tokens, step);
          },
        },
      );
    } catch (error) {
      if (isCancelled(error)) this.result = 'stopped';
      else this.failure = error;
    }
    this.aborter = null;
    const made = this.tokens.filter(({ prompt }) => !prompt);
    this.said = `${this.endText()} ${made.map(({ text }) => text).join('')}`;
  }

  private endText(): string {
    const { result } = this;
    if (result === null) return '';
    if (result === 'stopped') return t('Stopped.');
    const speed = t('{0} tokens in {1}.', grouped(result.tokens), durationText(result.seconds));
    switch (result.reason) {
      case 'stop':
        return `${t('The text ended by itself.')} ${speed}`;
      case 'length':
        return `${t('Ended at the number of tokens.')} ${speed}`;
      case 'context':
        return `${t('The model’s positions are used up.')} ${speed}`;
    }
  }

  override render(): TemplateResult {
    return html`<main>${this.body()}</main>
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { play } = this;
    if (this.lost !== null)
      return html`<moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>`;
    if (play === null) return html`<moe-progress what=${t('Opening')}></moe-progress>`;
    if (play.status === 'failed')
      return html`<moe-error-page
        .page=${play.error ?? errorPageOf(t('The model cannot be run'), t('No reason was given.'))}
      ></moe-error-page>`;
    return html`<h1 class="break">${visible(play.name)}</h1>
      ${
        play.model === null
          ? html`<moe-progress
              what=${play.progress === null ? t('Loading the model') : visible(play.progress.what)}
              done=${play.progress?.done ?? 0}
              total=${play.progress?.total ?? 0}
            ></moe-progress>`
          : this.about(play.model)
      }
      ${this.form(play)}
      ${
        this.failure === null
          ? nothing
          : html`<div class="note error" role="alert">
              ${icon('error', 'error')}
              <div class="break">
                ${errorPageOf('', this.failure).message} ${errorPageOf('', this.failure).hint ?? nothing}
              </div>
            </div>`
      }
      ${this.tokens.length === 0 ? nothing : this.text(play.model)}`;
  }

  private about({ modelType, device, experts, notes }: PlaygroundModel): TemplateResult {
    return html`<p class="dim">
        ${visible(modelType)} · ${device} ·
        ${
          experts === null
            ? t('dense: tokens have no experts, so none is coloured')
            : t('{0} experts in {1} layers, top-{2}', experts.perLayer, experts.layers.length, experts.topK)
        }
      </p>
      ${notes.map((note) => html`<p class="note">${icon('info', 'info')}<span class="break">${visible(note)}</span></p>`)}`;
  }

  private form(play: PlaygroundState): TemplateResult {
    const running = this.aborter !== null;
    const wrong = this.numbers();
    const field = (name: NumberName, label: string, title: string): TemplateResult =>
      html`<label class="field" title=${title}
        ><span class="dim">${label}</span
        ><input
          type="text"
          inputmode="decimal"
          .value=${this.view[name]}
          @input=${(event: Event) => {
            this.change({ [name]: textOf(event) });
          }}
      /></label>`;
    return html`<label class="prompt"
        ><span class="dim">${t('Prompt')}</span
        ><textarea
          rows="4"
          .value=${this.view.prompt}
          @input=${(event: Event) => {
            this.change({ prompt: textOf(event) });
          }}
          @keydown=${(event: KeyboardEvent) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void this.generate();
          }}
        ></textarea>
      </label>
      <div class="row fields">
        ${field('temperature', t('Temperature'), t('0 takes the likeliest token every time; 1 samples from the model as it is'))}
        ${field('topP', t('Top-p'), t('Samples from the fewest tokens whose probabilities reach it'))}
        ${field('seed', t('Seed'), t('The same seed gives the same text'))}
        ${field('maxTokens', t('Tokens'), t('Most tokens to generate'))}
        ${
          play.model?.chatTemplate === true
            ? html`<vscode-checkbox
                .checked=${this.view.chat}
                @change=${(event: Event) => {
                  if (checkedOf(event) !== this.view.chat) this.change({ chat: checkedOf(event) });
                }}
                >${t('As a chat, in the model’s template')}</vscode-checkbox
              >`
            : nothing
        }
        ${
          running
            ? html`<vscode-button appearance="secondary" @click=${() => this.aborter?.abort()}
                >${t('Stop')}</vscode-button
              >`
            : html`<vscode-button
                ?disabled=${play.status !== 'ready' || typeof wrong === 'string'}
                @click=${() => void this.generate()}
                >${t('Generate')}</vscode-button
              >`
        }
      </div>
      ${typeof wrong === 'string' ? html`<p class="row" role="alert">${icon('error', 'error')}${wrong}</p>` : nothing}`;
  }

  /** The layer that colours: the chosen one, else the first with experts. */
  private layerOf(model: PlaygroundModel | null): number | null {
    const layers = model?.experts?.layers ?? [];
    const { layer } = this.view;
    return layer !== null && layers.includes(layer) ? layer : (layers[0] ?? null);
  }

  private text(model: PlaygroundModel | null): TemplateResult {
    const layer = this.layerOf(model);
    const experts = model?.experts ?? null;
    const made = this.tokens.filter(({ prompt }) => !prompt);
    const whole = this.tokens.map(({ text }) => text).join('');
    return html`<section aria-label=${t('Text')}>
      <div class="row">
        <h2 class="grow">${t('Text')}</h2>
        ${
          layer === null
            ? nothing
            : html`<moe-select
                label=${t('Coloured by the first expert of')}
                .choices=${(experts?.layers ?? []).map((one) => ({ value: String(one), label: t('Layer {0}', one) }))}
                .value=${String(layer)}
                @change=${(event: CustomEvent<string>) => {
                  this.change({ layer: Number(event.detail) });
                }}
              ></moe-select>`
        }
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.view.table)}
          @click=${() => {
            this.change({ table: !this.view.table });
          }}
        >
          ${icon('table')}${t('As a table')}
        </button>
        <moe-copy .text=${whole} what=${t('the text')} label=${t('Copy')}></moe-copy>
      </div>
      ${this.view.table ? this.tokenTable(layer) : this.tokenText(layer)}
      ${layer === null || experts === null ? nothing : this.legend(layer, experts.perLayer)}
      ${
        layer === null
          ? nothing
          : html`<p class="dim">
              ${t('The number beside a token is the expert that the router of this layer put first; p is its share in the softmax over all experts.')}
            </p>`
      }
      <p class="dim">${this.aborter === null ? this.endText() : t('{0} tokens so far', grouped(made.length))}</p>
    </section>`;
  }

  /** One tab stop; arrows go from token to token, and each says its number, probability and experts. */
  private tokenText(layer: number | null): TemplateResult {
    const at = this.chosen ?? 0;
    const chosen = this.chosen === null ? undefined : this.tokens[this.chosen];
    return html`<div class="text mono" role="list" aria-label=${t('Tokens')} @keydown=${this.pressed}>
        ${this.tokens.map((token, index) => {
          const first = layer === null ? undefined : token.experts.get(layer)?.[0];
          return html`<span
            role="listitem"
            class="token ${token.prompt ? 'given' : ''} ${first === undefined ? '' : `hue${String(first % HUES)}`}"
            tabindex=${index === at ? '0' : '-1'}
            title=${tokenWords(token, layer)}
            aria-label=${tokenWords(token, layer).replaceAll('\n', ', ')}
            @click=${() => (this.chosen = index)}
            @focus=${() => (this.chosen = index)}
            ><span class=${token.text === '' ? 'part' : ''}
              >${token.text === '' ? visible(token.entry) : token.text.split('\n').map(visible).join('↵\n')}</span
            >${first === undefined ? nothing : html`<sub>${first}</sub>`}</span
          >`;
        })}
      </div>
      ${chosen === undefined ? nothing : html`<p>${tokenWords(chosen, layer).split('\n').join(' · ')}</p>`}`;
  }

  private pressed(event: KeyboardEvent): void {
    const at = this.chosen ?? 0;
    const last = this.tokens.length - 1;
    const moves: Readonly<Record<string, number>> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last };
    const to = Object.hasOwn(moves, event.key) ? moves[event.key] : undefined;
    if (to === undefined) return;
    event.preventDefault();
    this.chosen = Math.max(0, Math.min(last, to));
    void this.updateComplete.then(() =>
      this.shadowRoot?.querySelectorAll<HTMLElement>('.token')[this.chosen ?? 0]?.focus(),
    );
  }

  private tokenTable(layer: number | null): TemplateResult {
    return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Tokens')}>
      <table>
        <thead>
          <tr>
            <th scope="col" class="num">#</th>
            <th scope="col">${t('Token')}</th>
            <th scope="col" class="num">${t('Id')}</th>
            <th scope="col">${t('Whose')}</th>
            <th scope="col" class="num">${t('Probability')}</th>
            ${
              layer === null
                ? nothing
                : html`<th scope="col">${t('Experts of layer {0}', layer)}</th>
                    <th scope="col" class="num">${t('Router p')}</th>`
            }
          </tr>
        </thead>
        <tbody>
          ${this.tokens.map(
            (token, at) =>
              html`<tr>
                <td class="num">${at}</td>
                <td class="mono break">${visible(tokenText(token))}</td>
                <td class="num">${token.id}</td>
                <td>${token.prompt ? t('prompt') : t('generated')}</td>
                <td class="num">${token.logprob === null ? '–' : shareText(Math.exp(token.logprob), 1)}</td>
                ${
                  layer === null
                    ? nothing
                    : html`<td>${token.experts.get(layer)?.join(', ') ?? t('not run')}</td>
                        <td class="num">${token.shares.get(layer)?.toFixed(3) ?? '–'}</td>`
                }
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }

  private legend(layer: number, experts: number): TemplateResult {
    const counts = firstCounts(this.tokens, layer, experts);
    const all = counts.reduce((sum, count) => sum + count, 0);
    return html`<ul class="legend" aria-label=${t('Tokens by their first expert')}>
      ${counts.map((count, expert) =>
        count === 0 && experts > 32
          ? nothing
          : html`<li>
              <span class="swatch hue${String(expert % HUES)}" aria-hidden="true"></span>${t('expert {0}', expert)}:
              ${grouped(count)} (${shareText(count, all)})
            </li>`,
      )}
    </ul>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-playground': MoePlayground;
  }
}
