import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import { selfTest } from '../../src/runtime/self-test.ts';
import { floatData, floats, integerData, Session } from '../../src/runtime/session.ts';

describe('the runtime', () => {
  it('passes its self-test, with and without arena', async () => {
    await selfTest();
    await selfTest({ withoutArena: true, threads: 1 });
  });

  it('turns every refusal into an error that names it', async () => {
    const bad = new GraphBuilder('bad');
    bad.output('y', bad.emit1('NoSuchOperator', [bad.input('x', 'float32', [1])], { type: 'float32', shape: [1] }));
    await expect(Session.create(bad, { folder: null, weights: 'stored' })).rejects.toMatchObject({
      code: 'session-failed',
    });
    const g = new GraphBuilder('g');
    g.output('y', g.emit1('Neg', [g.input('x', 'float32', [2])], { type: 'float32', shape: [2] }));
    const session = await Session.create(g, { folder: null, weights: 'stored' });
    await expect(session.run({ x: floats(Float32Array.of(1, 2), [2]) }, ['nosuch'])).rejects.toMatchObject({
      code: 'run-failed',
    });
    const results = await session.run({ x: floats(Float32Array.from([1, -2]), [2]) }, ['y']);
    expect(floatData(results.get('y'), 'y')).toEqual(Float32Array.from([-1, 2]));
    expect(() => integerData(results.get('y'), 'y')).toThrow(
      expect.objectContaining({ code: 'unexpected-output' }) as Error,
    );
    expect(() => floatData(results.get('z'), 'z')).toThrow(
      expect.objectContaining({ code: 'unexpected-output' }) as Error,
    );
    await session.release();
  });
});
