/** What the core says goes over the wire as it is: the types agree, and so does what a real checkpoint gives. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { CheckpointFile, Problem } from '../../src/checkpoint/types.ts';
import type { ErrorPlace } from '../../src/common/errors.ts';
import { MoeError } from '../../src/common/errors.ts';
import type { ExpertSummary, InspectReport } from '../../src/inspect/index.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import type { Exactness, FlopsPerToken, PlanWarning } from '../../src/plan/types.ts';
import { expertSummary } from '../../src/protocol/checkpoint.ts';
import type { Overview } from '../../src/protocol/checkpoint.ts';
import { defineRequest, errorPageOf, fromWireError, toWireError } from '../../src/protocol/index.ts';
import type { ParamsOf, ResultOf, WireError } from '../../src/protocol/index.ts';
import type { CompareSummary } from '../../src/protocol/comparing.ts';
import type { JobProgress } from '../../src/protocol/jobs.ts';
import type { PlanSummary, WireRecipeProblem } from '../../src/protocol/planning.ts';
import { problem } from '../../src/protocol/wire.ts';
import type { WireProblem } from '../../src/protocol/wire.ts';
import type { DiffReport } from '../../src/diff/index.ts';
import type { RecipeProblem } from '../../src/recipe/problems.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import type { ProgressEvent } from '../../src/write/index.ts';

/** Compiles only where both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : never;
const _ask = defineRequest('test/ask', z.object({ name: z.string() }), z.object({ found: z.boolean() }));
const _tell = defineRequest('test/tell', z.object({}), z.string(), { progress: z.number() });
export const readBack: [
  Same<ParamsOf<typeof _ask>, { readonly name: string }>,
  Same<ResultOf<typeof _ask>, { readonly found: boolean }>,
  Same<ResultOf<typeof _tell>, string>,
] = [true, true, true];

/** Compiles only where the core's type can be sent as the wire's. */
type Sendable<Core extends Wire, Wire> = [Core, Wire];
export type Checked = [
  Sendable<Problem, WireProblem>,
  Sendable<ExpertSummary, NonNullable<Overview['experts']>>,
  Sendable<InspectReport['parameters'], Overview['parameters']>,
  Sendable<InspectReport['kind'], Overview['kind']>,
  Sendable<InspectReport['format'], Overview['format']>,
  Sendable<CheckpointFile, Overview['files'][number]>,
  Sendable<Exactness, PlanSummary['exactness']>,
  Sendable<FlopsPerToken, PlanSummary['flops']>,
  Sendable<PlanWarning, PlanSummary['warnings'][number]>,
  Sendable<ErrorPlace, WireError['place']>,
  Sendable<ProgressEvent['phase'], JobProgress['phase']>,
  Sendable<NonNullable<DiffReport['config']>, NonNullable<CompareSummary['config']>>,
  Sendable<NonNullable<DiffReport['experts']>['mode'], NonNullable<CompareSummary['mode']>>,
  Sendable<NonNullable<RecipeProblem['at']>, NonNullable<WireRecipeProblem['at']>>,
];

const folder = mkdtempSync(join(tmpdir(), 'moe-wire-'));
beforeAll(async () => {
  await writeSampleCheckpoint(join(folder, 'dense'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the core’s words', () => {
  it('about a real checkpoint pass as they are', async () => {
    const report = await inspectCheckpoint(await openCheckpoint(join(folder, 'dense')));
    for (const one of report.problems) expect(problem.parse(one)).toEqual(one);
    expect(report.kind).toBe('dense');
  });

  it('about experts pass as they are', () => {
    const summary: ExpertSummary = {
      layers: 2,
      layerIndices: [0, 1],
      perLayer: 8,
      topK: null,
      shared: 0,
      width: 352,
      sharedWidth: null,
      layout: 'per-expert',
      parallelSizes: [1, 2, 4, 8],
    };
    expect(expertSummary.parse(summary)).toEqual(summary);
  });
});

describe('errors', () => {
  const place = { file: 'a', tensor: 't', byte: 8, field: 'f.g', hint: 'Do it.', details: { x: [1, { y: null }] } };

  it('come back as they were', () => {
    const error = new MoeError('resources', 'disk-full', 'The disk is full', place);
    const back = fromWireError(toWireError(error));
    expect(back).toMatchObject({ kind: 'resources', code: 'disk-full', message: 'The disk is full', place });
  });

  it('lose what cannot be sent, not themselves', () => {
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    const error = new MoeError('input', 'x', 'm', { file: 'a', details: loop });
    expect(toWireError(error)).toEqual({ kind: 'input', code: 'x', message: 'm', place: { file: 'a' } });
    const big = new MoeError('input', 'x', 'm', { details: { n: 1n } });
    expect(toWireError(big).place).toEqual({});
  });

  it('of other kinds are internal, aborts are cancelled', () => {
    expect(toWireError('text')).toMatchObject({ kind: 'internal', message: 'text' });
    const aborted = new AbortController();
    aborted.abort();
    expect(toWireError(aborted.signal.reason)).toMatchObject({ kind: 'cancelled' });
  });

  it('make a page', () => {
    const page = errorPageOf('Cannot be opened', new MoeError('input', 'cut', 'Cut off', place));
    expect(page).toEqual({
      title: 'Cannot be opened',
      message: 'Cut off',
      code: 'cut',
      kind: 'input',
      file: 'a',
      tensor: 't',
      byte: 8,
      field: 'f.g',
      hint: 'Do it.',
      actions: [],
    });
  });
});
