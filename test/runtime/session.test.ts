/** Sessions refuse what a graph does not want, by name and before the native code sees it (field case G6-05). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import * as math from '../../src/onnx/ops-math.ts';
import { floatData, floats, integers, Session } from '../../src/runtime/session.ts';
import type { Feeds } from '../../src/runtime/session.ts';

let session: Session;
beforeAll(async () => {
  const g = new GraphBuilder('t');
  const x = g.input('x', 'float32', ['N', 3]);
  g.output('y', math.add(g, x, x));
  session = await Session.create(g, { folder: null, weights: 'stored', threads: 1 });
});
afterAll(() => session.release());

const right = floats(Float32Array.of(1, 2, 3), [1, 3]);

describe('a session', () => {
  it.each<[string, Feeds, string]>([
    [
      'another type',
      { x: integers([1, 2, 3], [1, 3]) },
      'Input "x" of the graph got int64 [1, 3]; it wants float32 [N, 3].',
    ],
    [
      'another size',
      { x: floats(new Float32Array(4), [1, 4]) },
      'Input "x" of the graph got float32 [1, 4]; it wants float32 [N, 3].',
    ],
    [
      'another rank',
      { x: floats(new Float32Array(3), [3]) },
      'Input "x" of the graph got float32 [3]; it wants float32 [N, 3].',
    ],
    ['nothing', {}, 'Input "x" of the graph is missing; it wants float32 [N, 3].'],
    ['more than there is', { x: right, z: right }, 'Input "z" of the graph does not exist.'],
  ])('G6-05: refuses %s, by name', async (_, feeds, message) => {
    await expect(session.run(feeds, ['y'])).rejects.toMatchObject({ code: 'bad-input', message });
    // And goes on working.
    expect([...floatData((await session.run({ x: right }, ['y'])).get('y'), 'y')]).toEqual([2, 4, 6]);
  });
});
