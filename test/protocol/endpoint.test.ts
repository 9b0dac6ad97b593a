import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { MoeError } from '../../src/common/errors.ts';
import { defineNotification, defineRequest } from '../../src/protocol/define.ts';
import { Endpoint, portEndpoint } from '../../src/protocol/host.ts';
import type { Fault, Transport } from '../../src/protocol/host.ts';

const double = defineRequest('t/double', z.object({ n: z.number() }), z.object({ n: z.number() }));
const slow = defineRequest('t/slow', z.object({ steps: z.int() }), z.object({ done: z.boolean() }), {
  progress: z.object({ step: z.int() }),
  timeoutMs: 80,
});
const said = defineNotification('t/said', z.object({ word: z.string() }));

const open: { dispose(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.dispose();
});

interface Pair {
  readonly left: Endpoint;
  readonly right: Endpoint;
  readonly faults: Fault[];
  readonly ports: { readonly port1: MessagePort; readonly port2: MessagePort };
}

function pair(): Pair {
  const ports = new MessageChannel();
  const faults: Fault[] = [];
  const onFault = (fault: Fault): void => void faults.push(fault);
  const left = portEndpoint(ports.port1, { peer: 'the worker', onFault });
  const right = portEndpoint(ports.port2, { peer: 'the host', onFault });
  open.push(left, right, { dispose: () => void (ports.port1.close(), ports.port2.close()) });
  return { left, right, faults, ports };
}

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const rejection = async (promise: Promise<unknown>): Promise<MoeError> => {
  const error: unknown = await promise.then(
    (value) => new Error(`resolved with ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MoeError)) throw error;
  return error;
};

describe('requests', () => {
  it('answer, many at once and out of order', async () => {
    const { left, right } = pair();
    right.handle(double, async ({ n }) => {
      await sleep(10 - n);
      return { n: 2 * n };
    });
    const answers = await Promise.all([1, 2, 3, 4].map((n) => left.request(double, { n })));
    expect(answers).toEqual([{ n: 2 }, { n: 4 }, { n: 6 }, { n: 8 }]);
  });

  it('go both ways over one connection', async () => {
    const { left, right } = pair();
    left.handle(double, ({ n }) => ({ n: n + 1 }));
    right.handle(double, async ({ n }) => right.request(double, { n }));
    expect(await left.request(double, { n: 5 })).toEqual({ n: 6 });
  });

  it('reject with the MoeError that was thrown', async () => {
    const { left, right, faults } = pair();
    right.handle(double, () => {
      throw new MoeError('input', 'tensor-cut', 'w is cut off', {
        file: 'a.safetensors',
        byte: 120,
        hint: 'Fetch it again.',
      });
    });
    const error = await rejection(left.request(double, { n: 1 }));
    expect(error).toMatchObject({
      kind: 'input',
      code: 'tensor-cut',
      message: 'w is cut off',
      place: { file: 'a.safetensors', byte: 120, hint: 'Fetch it again.' },
    });
    // What a file's damage causes is no fault of the program.
    expect(faults).toEqual([]);
  });

  it('reject with kind internal where something else was thrown, and log it where it happened', async () => {
    const { left, right, faults } = pair();
    const thrown = new TypeError('x is undefined');
    right.handle(double, () => {
      throw thrown;
    });
    expect(await rejection(left.request(double, { n: 1 }))).toMatchObject({
      kind: 'internal',
      message: 'x is undefined',
    });
    expect(faults).toMatchObject([{ method: 't/double', error: thrown }]);
  });

  it('reject where nobody serves the method', async () => {
    const { left } = pair();
    expect(await rejection(left.request(double, { n: 1 }))).toMatchObject({ code: 'rpc-unknown' });
  });

  it('time out, and tell the server to stop', async () => {
    const { left, right } = pair();
    let stopped = false;
    right.handle(slow, ({ steps }, { signal }) => {
      signal.addEventListener('abort', () => (stopped = true));
      return sleep(steps).then(() => ({ done: true }));
    });
    const error = await rejection(left.request(slow, { steps: 300 }));
    expect(error).toMatchObject({ code: 'rpc-timeout' });
    expect(error.message).toContain('The worker did not answer t/slow within 0.08 s');
    await sleep(20);
    expect(stopped).toBe(true);
  });

  it('live as long as progress comes', async () => {
    const { left, right } = pair();
    right.handle(slow, async ({ steps }, { progress }) => {
      for (let step = 0; step < steps; step++) {
        await sleep(40);
        progress({ step });
      }
      return { done: true };
    });
    const seen: number[] = [];
    await left.request(slow, { steps: 5 }, { onProgress: ({ step }) => seen.push(step) });
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });

  it('are cancelled: the caller at once, the server by its signal', async () => {
    const { left, right } = pair();
    const aborter = new AbortController();
    let aborted: Promise<void> | undefined;
    right.handle(slow, async (_, { signal }) => {
      aborted = new Promise((done) => {
        signal.addEventListener('abort', () => {
          done();
        });
      });
      await aborted;
      throw new MoeError('cancelled', 'cancelled', 'stopped');
    });
    const asked = rejection(left.request(slow, { steps: 1 }, { signal: aborter.signal, timeoutMs: null }));
    await sleep(10);
    aborter.abort();
    expect(await asked).toMatchObject({ kind: 'cancelled' });
    await aborted;
    expect(await rejection(left.request(slow, { steps: 1 }, { signal: aborter.signal }))).toMatchObject({
      kind: 'cancelled',
    });
  });

  it('reject when the other side goes away, and afterwards at once', async () => {
    const { left, right, ports } = pair();
    right.handle(slow, () => new Promise(() => undefined));
    const asked = rejection(left.request(slow, { steps: 1 }, { timeoutMs: null }));
    await sleep(5);
    ports.port2.close();
    expect(await asked).toMatchObject({ code: 'rpc-closed' });
    expect(left.closed).toBe(true);
    expect(await rejection(left.request(double, { n: 1 }))).toMatchObject({ code: 'rpc-closed' });
    expect(() => {
      left.notify(said, { word: 'into the void' });
    }).not.toThrow();
  });

  it('abort handlers when their connection closes', async () => {
    const { left, right } = pair();
    let aborted = false;
    right.handle(slow, (_, { signal }) => {
      signal.addEventListener('abort', () => (aborted = true));
      return new Promise(() => undefined);
    });
    void rejection(left.request(slow, { steps: 1 }, { timeoutMs: null }));
    await sleep(10);
    right.close('the window closes');
    expect(aborted).toBe(true);
  });
});

describe('validation', () => {
  it('refuses bad params before they are sent', async () => {
    const { left, right } = pair();
    let called = 0;
    right.handle(double, (params) => {
      called++;
      return params;
    });
    expect(await rejection(left.request(double, { n: 'two' } as never))).toMatchObject({ code: 'rpc-invalid' });
    expect(called).toBe(0);
  });

  it('refuses bad params that arrive', async () => {
    const { right, ports, faults } = pair();
    let called = 0;
    right.handle(double, (params) => {
      called++;
      return params;
    });
    ports.port1.postMessage({ jsonrpc: '2.0', id: 7, method: 't/double', params: { value: { n: 'two' } } });
    ports.port1.postMessage({ jsonrpc: '2.0', id: 8, method: 't/double', params: 'nonsense' });
    await sleep(20);
    expect(called).toBe(0);
    expect(faults.filter(({ method }) => method === 't/double')).toHaveLength(2);
  });

  it('refuses a bad answer on the side that made it', async () => {
    const { left, right, faults } = pair();
    right.handle(double, () => ({ n: NaN }));
    const error = await rejection(left.request(double, { n: 1 }));
    expect(error).toMatchObject({ kind: 'internal', code: 'rpc-invalid' });
    expect(faults).toHaveLength(1);
  });

  it('leaves out what the definition does not name', async () => {
    const { left, right } = pair();
    right.handle(double, (params) => {
      expect(Object.keys(params)).toEqual(['n']);
      return { n: 1, secret: 'x' } as { n: number };
    });
    expect(await left.request(double, { n: 1, extra: true } as { n: number })).toEqual({ n: 1 });
  });

  it('drops invalid notifications as faults, and passes valid ones', async () => {
    const { left, right, ports, faults } = pair();
    const words: string[] = [];
    right.on(said, ({ word }) => words.push(word));
    ports.port1.postMessage({ jsonrpc: '2.0', method: 't/said', params: { value: { word: 3 } } });
    left.notify(said, { word: 'yes' });
    await sleep(20);
    expect(words).toEqual(['yes']);
    expect(faults).toHaveLength(1);
  });

  it('ignores what is no JSON-RPC', async () => {
    const { left, right, ports, faults } = pair();
    right.handle(double, ({ n }) => ({ n }));
    for (const junk of [null, 'x', 3, [], {}, { jsonrpc: '1.0' }, { type: 'webpackOk' }]) ports.port1.postMessage(junk);
    expect(await left.request(double, { n: 1 })).toEqual({ n: 1 });
    expect(faults).toEqual([]);
  });
});

describe('transports', () => {
  it('that refuse to send make the request fail', async () => {
    const transport: Transport = { send: () => Promise.reject(new Error('gone')), listen: () => () => undefined };
    const end = new Endpoint(transport);
    open.push(end);
    await expect(end.request(double, { n: 1 }, { timeoutMs: 500 })).rejects.toThrow(/gone/);
  });
});
