/** Shows that ONNX Runtime loads and computes on this machine, before anything depends on it. */
import { MoeError } from '../common/errors.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import * as math from '../onnx/ops-math.ts';
import { floatData, floats, Session } from './session.ts';
import type { SessionSettings } from './session.ts';

/**
 * Runs a small product whose result is known. Throws a MoeError: `session-failed` or `run-failed` where the runtime refuses,
 * `self-test-failed` where it computes something else.
 */
export async function selfTest(settings: Omit<SessionSettings, 'folder' | 'weights'> = {}): Promise<void> {
  const g = new GraphBuilder('self-test');
  const x = g.input('x', 'float32', ['N', 3]);
  const w = g.constant('float32', [2, 3], [1, 2, 3, 4, 5, 6]);
  g.output('y', math.softmax(g, math.gemm(g, x, w, { transB: true })));
  const session = await Session.create(g, { ...settings, folder: null, weights: 'stored' });
  const results = await session.run({ x: floats(Float32Array.from([0.5, -1, 0.25]), [1, 3]) }, ['y']);
  await session.release();
  // x·w = (-0.75, -1.5): the softmax is 1 / (1 + exp(∓0.75)).
  const [a, b] = floatData(results.get('y'), 'y');
  const expected = 1 / (1 + Math.exp(-0.75));
  if (Math.abs((a ?? Number.NaN) - expected) < 1e-5 && Math.abs((b ?? Number.NaN) - (1 - expected)) < 1e-5) return;
  throw new MoeError(
    'internal',
    'self-test-failed',
    `ONNX Runtime computes wrong numbers on this machine (${String(a)} instead of ${expected}).`,
    {
      hint:
        settings.device === undefined || settings.device === 'cpu'
          ? 'Report this with your processor and operating system.'
          : 'Use the CPU: moe.device = cpu.',
    },
  );
}
