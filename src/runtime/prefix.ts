/** Keys and values of a beginning that many texts share, run once and read by all of them. */
import { maskName, maskWindows } from '../model/forward.ts';
import { causalMask, pastMask } from '../model/masks.ts';
import type { RunnableModel } from './model.ts';
import { floatData, floats, integers } from './session.ts';
import type { Feeds } from './session.ts';

export class Prefix {
  private constructor(
    readonly ids: readonly number[],
    /** `past_key.*` and `past_value.*` inputs. */
    readonly feeds: Feeds,
  ) {}

  get length(): number {
    return this.ids.length;
  }

  matches(ids: readonly number[]): boolean {
    return ids.length === this.ids.length && ids.every((id, i) => id === this.ids[i]);
  }

  /** Runs `ids` from an empty cache. The session is the one that scores what follows, so no further one is made. */
  static async run(model: RunnableModel, ids: readonly number[]): Promise<Prefix> {
    const { spec } = model;
    model.checkIds(ids);
    const length = ids.length;
    const session = await model.session({ rows: 'chosen', head: 'targets', cache: true });
    // A cache of one place that nobody sees stands for an empty one.
    const masks = maskWindows(spec).flatMap((window) => [
      [maskName(window), floats(causalMask(length, window), [1, 1, length, length])] as const,
      [maskName(window, true), floats(pastMask(length, 0, 0, 1, window), [1, 1, length, 1])] as const,
    ]);
    const slots = spec.layers.flatMap(({ index }) => [
      { name: `key.${index}`, width: spec.headDim },
      { name: `value.${index}`, width: spec.valueDim },
    ]);
    const empty = (width: number): Feeds[string] =>
      floats(new Float32Array(spec.kvHeads * width), [1, spec.kvHeads, 1, width]);
    const feeds: Feeds = {
      input_ids: integers(ids, [1, length]),
      position_ids: integers(
        ids.map((_, i) => i),
        [1, length],
      ),
      rows: integers([0], [1]),
      targets: integers([0], [1]),
      ...Object.fromEntries(masks),
      ...model.ropeFeeds(length),
      ...Object.fromEntries(slots.map(({ name, width }) => [`past_${name}`, empty(width)])),
    };
    const results = await session.run(
      feeds,
      slots.map(({ name }) => `present_${name}`),
    );
    const kept = slots.map(({ name, width }) => {
      const data = floatData(results.get(`present_${name}`), name);
      return [`past_${name}`, floats(data, [1, spec.kvHeads, length, width])] as const;
    });
    return new Prefix(ids, Object.fromEntries(kept));
  }
}
