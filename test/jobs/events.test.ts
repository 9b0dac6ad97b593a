import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyEvent, eventsOf, jobEvent } from '../../src/jobs/events.ts';
import type { JobEvent, JobRecord } from '../../src/jobs/events.ts';
import { doctorOf } from './params.ts';

const id = fc.constantFrom('a-1', 'b-2', 'c-3');
const time = fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z');
const event: fc.Arbitrary<JobEvent> = fc.oneof(
  fc.record({
    type: fc.constant('created' as const),
    id,
    time,
    title: fc.string(),
    params: fc.constant(doctorOf('/m')),
    repeats: fc.constant(null),
  }),
  fc.record({
    type: fc.constant('started' as const),
    id,
    time,
    owner: fc.record({ pid: fc.nat(), host: fc.constant('h'), window: fc.string() }),
  }),
  fc.record({ type: fc.constant('cancel' as const), id, time, keepPartial: fc.option(fc.boolean()) }),
  fc.record({
    type: fc.constant('ended' as const),
    id,
    time,
    status: fc.constantFrom('done', 'checked-bad', 'failed', 'cancelled', 'interrupted'),
    outcome: fc.constant(null),
    error: fc.constant(null),
  }),
  fc.record({ type: fc.constant('removed' as const), id, time }),
);

function fold(events: readonly JobEvent[]): Map<string, JobRecord> {
  const jobs = new Map<string, JobRecord>();
  for (const one of events) applyEvent(jobs, one);
  return jobs;
}

describe('job events', () => {
  it('never start a job twice, never end it twice, never go back', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const jobs = new Map<string, JobRecord>();
        const rank = (status: string | undefined): number =>
          status === undefined ? -1 : status === 'queued' ? 0 : status === 'running' ? 1 : 2;
        for (const one of events) {
          const before = jobs.get(one.id);
          applyEvent(jobs, one);
          const after = jobs.get(one.id);
          if (before === undefined || after === undefined) continue;
          expect(rank(after.status)).toBeGreaterThanOrEqual(rank(before.status));
          if (before.owner !== null) expect(after.owner).toBe(before.owner);
          if (before.ended !== null) expect(after).toBe(before);
        }
      }),
    );
  });

  it('can be replaced by the fewest that say the same', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const jobs = fold(events);
        expect(fold(eventsOf(jobs.values()))).toEqual(jobs);
      }),
    );
  });

  it('survive the way through JSON', () => {
    fc.assert(
      fc.property(event, (one) => {
        expect(jobEvent.parse(JSON.parse(JSON.stringify(one)))).toEqual(one);
      }),
    );
  });

  it('have ids that are file names and nothing else', () => {
    for (const bad of ['../../x', 'a/b', '', 'A-1', 'a-1.lock', '-', 'a-', '__proto__'])
      expect(jobEvent.safeParse({ type: 'removed', id: bad, time: 't' }).success, bad).toBe(false);
  });
});
