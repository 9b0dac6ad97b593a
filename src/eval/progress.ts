import { wilsonInterval } from './metrics.ts';
import type { ProgressEvent, RunningScore } from './run-types.ts';

interface Tally {
  metric: RunningScore['metric'];
  sum: number;
  weight: number;
  documents: number;
}

/** Amount of work of one document: characters, a fair proxy for tokens before anything is tokenised. */
export interface Work {
  readonly requests: number;
  readonly characters: number;
}

/** Keeps count of a running evaluation. `now` gives milliseconds. */
export class ProgressMeter {
  readonly #start: number;
  readonly #tallies = new Map<string, Tally>();
  #requests = 0;
  #documents = 0;
  #doneCharacters = 0;
  #ranCharacters = 0;
  #ranRequests = 0;
  #runningMs = 0;
  /** Requests finished inside the call that is running. */
  partial = 0;

  constructor(
    private readonly total: Work & { readonly documents: number },
    private readonly now: () => number,
  ) {
    this.#start = now();
  }

  /** Documents finished in one call: `ran` is the part that was not taken from a journal, `ms` the time it took. */
  finish(documents: number, all: Work, ran: Work, ms: number): void {
    this.partial = 0;
    this.#documents += documents;
    this.#requests += all.requests;
    this.#doneCharacters += all.characters;
    this.#ranRequests += ran.requests;
    this.#ranCharacters += ran.characters;
    this.#runningMs += ms;
  }

  /** Adds one document's outcome to the running scores of `names` (a task and the groups above it). */
  tally(names: readonly string[], metric: RunningScore['metric'], value: number, weight = 1): void {
    for (const name of names) {
      const t = this.#tallies.get(name) ?? { metric, sum: 0, weight: 0, documents: 0 };
      t.sum += value;
      t.weight += weight;
      t.documents++;
      this.#tallies.set(name, t);
    }
  }

  event(task: string, names: readonly string[]): ProgressEvent {
    const left = this.total.characters - this.#doneCharacters;
    const perCharacter = this.#ranCharacters > 0 ? this.#runningMs / this.#ranCharacters : null;
    return {
      task,
      requests: Math.min(this.total.requests, this.#requests + this.partial),
      totalRequests: this.total.requests,
      documents: this.#documents,
      totalDocuments: this.total.documents,
      elapsedSeconds: (this.now() - this.#start) / 1000,
      etaSeconds: left <= 0 ? 0 : perCharacter === null ? null : (left * perCharacter) / 1000,
      requestsPerSecond: this.#runningMs > 0 ? (this.#ranRequests * 1000) / this.#runningMs : null,
      running: names.flatMap((name) => this.#running(name)),
    };
  }

  #running(name: string): RunningScore[] {
    const t = this.#tallies.get(name);
    if (t === undefined || t.weight === 0) return [];
    const value = t.sum / t.weight;
    const interval = t.metric === 'acc' ? wilsonInterval(t.sum, t.weight) : null;
    return [{ name, metric: t.metric, value, documents: t.documents, interval }];
  }
}
