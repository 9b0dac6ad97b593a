import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { applyStopStrings, extractAnswer, summariseCuts } from '../../src/eval/stop-strings.ts';
import { SHARED, haveShared, readJson } from './helpers/shared.ts';

const TEXT = '6 * 7 = 42 pages, 42 + 0 = 42.\n#### 42\nQuestion: more';
const PATTERN = /#### (-?[0-9.,]+)/;

function sample(
  text: string,
  stops: readonly string[],
): ReturnType<typeof applyStopStrings> & { answer: string | null } {
  const result = applyStopStrings(text, stops);
  return { ...result, answer: extractAnswer(result.kept, PATTERN) };
}

describe('stop strings', () => {
  it('cuts at each stop string in turn and says where and by which', () => {
    expect(sample(TEXT, ['Question='])).toEqual({ kept: TEXT, answer: '42' });
    expect(sample(TEXT, ['Question=', 'Question', '='])).toEqual({
      kept: '6 * 7 ',
      cut: { at: 6, stop: '=' },
      answer: null,
    });
    expect(sample(TEXT, ['Question:'])).toMatchObject({ cut: { at: 39, stop: 'Question:' }, answer: '42' });
    expect(applyStopStrings('abc', ['', 'zz'])).toEqual({ kept: 'abc' });
  });

  it('warns when more than half were cut before any answer', () => {
    const bad = sample(TEXT, ['=']);
    const good = sample(TEXT, ['Question:']);
    expect(summariseCuts([bad, good])).toEqual({
      samples: 2,
      cutBeforeAnswer: 1,
      share: 0.5,
      byStop: [{ stop: '=', samples: 1 }],
    });
    const summary = summariseCuts([bad, bad, good]);
    expect(summary.share).toBeCloseTo(2 / 3);
    expect(summary.warning).toContain('2 of 3 texts were cut before any answer, most by the stop string "="');
    expect(summariseCuts([])).toMatchObject({ samples: 0, share: 0 });
  });

  it.skipIf(!haveShared('field/inputs/G4-08', 'field case G4-08'))('field case G4-08', () => {
    const folder = join(SHARED, 'field/inputs/G4-08');
    const given = readJson(join(folder, 'case.json')) as {
      generation: string;
      stops: Record<string, string[]>;
      pattern: string;
    };
    const { right } = readJson(join(folder, 'expected.json')) as {
      right: { value: Record<string, { kept: string; answer: string | null }> }[];
    };
    const cut: unknown[] = [];
    for (const [name, stops] of Object.entries(given.stops)) {
      const result = applyStopStrings(given.generation, stops);
      expect({ kept: result.kept, answer: extractAnswer(result.kept, new RegExp(given.pattern)) }).toEqual(
        right[0]?.value[name],
      );
      cut.push(result.cut?.stop);
    }
    expect(cut).toEqual([undefined, '=', 'Question:']);
  });
});
