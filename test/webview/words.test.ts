import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { ExpertMetric, LayerExperts } from '../../src/protocol/checkpoint.ts';
import type { CompareExpert, CompareSummary } from '../../src/protocol/comparing.ts';
import type { RecipeField } from '../../src/protocol/planning.ts';
import { parseFilter } from '../../src/view/filter-parse.ts';
import { asExpertsLine, compareLine, matchGrid, matchSummary, matchText } from '../../webview/lib/compared.ts';
import { gridOf, gridSummary, markOf, metricTexts } from '../../webview/lib/experts.ts';
import { groupFields, isSet, parseText, resolvedText, shownText } from '../../webview/lib/fields.ts';
import { FILTER_HELP } from '../../webview/lib/filter-help.ts';
import { flopsText, shareText } from '../../webview/lib/format.ts';
import { densest, histogramSummary } from '../../webview/lib/histogram.ts';
import {
  colourDomain,
  extremes,
  inkOn,
  luminance,
  mix,
  parseColour,
  place,
  tickPlace,
} from '../../webview/lib/scale.ts';
import { loadTranslations, t } from '../../webview/strings.ts';
import { groups, readView, toggle, withGroups } from '../../webview/viewer/state.ts';

afterEach(() => {
  loadTranslations(null);
});

describe('texts', () => {
  test('holes are filled, values are never read as holes or markup', () => {
    expect(t('Copy {0}', '{1}')).toBe('Copy {1}');
    expect(t('{0} of {1}', 3, '<b>')).toBe('3 of <b>');
    expect(t('left {4}')).toBe('left {4}');
  });
  test('the host may translate; what is no table is ignored', () => {
    loadTranslations('{"Copy {0}": "{0} kopieren", "Run…": 5, "__proto__": "x"}');
    expect(t('Copy {0}', 'x')).toBe('x kopieren');
    expect(t('Run…')).toBe('Run…');
    for (const bad of ['', 'no json', '[]', 'null', '3']) {
      loadTranslations(bad);
      expect(t('Copy {0}', 'x')).toBe('Copy x');
    }
  });
  test('shares never round to nothing or everything', () => {
    expect([shareText(0, 5), shareText(5, 5), shareText(1, 1e6), shareText(999_999, 1e6), shareText(1, 0)]).toEqual([
      '0.0 %',
      '100.0 %',
      '< 0.1 %',
      '> 99.9 %',
      '–',
    ]);
    expect([flopsText(4.28e8), flopsText(3.251e9), flopsText(12)]).toEqual(['428 MFLOP', '3.25 GFLOP', '12 FLOP']);
  });
  test('every example of the filter help is read by the filter', () => {
    for (const [example] of FILTER_HELP) expect(parseFilter(example), example).toMatchObject({ ok: true });
  });
});

describe('colours', () => {
  test('values keep their order on the scale', () => {
    expect([place(0, 0, 10), place(5, 0, 10), place(99, 0, 10), place(NaN, 0, 10), place(3, 3, 3)]).toEqual([
      0,
      0.5,
      1,
      null,
      0,
    ]);
  });
  test('labels over the outermost columns stay inside', () => {
    expect(tickPlace(100, '7', 200)).toBe(100);
    expect(tickPlace(1, '0', 200)).toBeGreaterThan(3);
    expect(tickPlace(199, '120', 200)).toBeLessThan(190);
  });
  test('a mix lies between its ends', () => {
    const channel = fc.integer({ min: 0, max: 255 });
    const colour = fc.tuple(channel, channel, channel);
    fc.assert(
      fc.property(colour, colour, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, share) => {
        const mixed = mix(a, b, share);
        for (const at of [0, 1, 2] as const) {
          expect(mixed[at]).toBeGreaterThanOrEqual(Math.min(a[at], b[at]));
          expect(mixed[at]).toBeLessThanOrEqual(Math.max(a[at], b[at]));
        }
      }),
    );
  });
  test('ink reads on every colour (contrast at least 4.5)', () => {
    const channel = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.tuple(channel, channel, channel), (colour) => {
        const [a, b] = [luminance(colour), luminance(inkOn(colour))].sort((x, y) => y - x);
        expect(((a ?? 0) + 0.05) / ((b ?? 0) + 0.05)).toBeGreaterThanOrEqual(4.5);
      }),
    );
  });
  test('theme colours are read in every form that VS Code writes', () => {
    expect(parseColour('#1f2e3d')).toEqual([31, 46, 61]);
    expect(parseColour('#fff')).toEqual([255, 255, 255]);
    expect(parseColour('#1f2e3d80')).toEqual([31, 46, 61]);
    expect(parseColour(' rgba(1, 2, 3, 0.5)')).toEqual([1, 2, 3]);
    expect(parseColour('rgb(1 2 3 / 50%)')).toEqual([1, 2, 3]);
    expect([parseColour('red'), parseColour('#12'), parseColour('')]).toEqual([null, null, null]);
  });
  test('a dead expert does not take the scale', () => {
    expect(colourDomain([0, 40, 60, NaN], (at) => at === 0)).toEqual({ min: 40, max: 60 });
    expect(colourDomain([1, 2], () => true)).toEqual({ min: 1, max: 2 });
    expect(extremes([NaN])).toBeNull();
  });
});

describe('histogram in words', () => {
  test('the shortest run with the share, by trying all', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 12 }), (counts) => {
        const need = counts.reduce((a, b) => a + b, 0) * 0.9;
        const [low, high] = densest(counts, need);
        const sum = (from: number, to: number): number => counts.slice(from, to + 1).reduce((a, b) => a + b, 0);
        expect(sum(low, high)).toBeGreaterThanOrEqual(need);
        for (let from = 0; from < counts.length; from++)
          for (let to = from; to - from < high - low; to++)
            if (to < counts.length) expect(sum(from, to)).toBeLessThan(need);
      }),
    );
  });
  test('tells where the mass is, zeros and what lies outside', () => {
    expect(
      histogramSummary({ scale: 'log', edges: [0.001, 0.01, 0.1, 1], counts: [1, 97, 2], zeros: 100, outside: 3 }),
    ).toBe(
      '90 % of the values lie between 0.01 and 0.1; most in 0.01 to 0.1 (47.8 %). 100 are exactly zero (49.3 %). 3 lie outside the bins.',
    );
    expect(histogramSummary({ scale: 'linear', edges: [0, 1], counts: [0], zeros: 0, outside: 0 })).toBe(
      'There are no finite values.',
    );
  });
});

function metric(expert: ExpertMetric['expert'], norm: number, flags: ExpertMetric['flags'] = []): ExpertMetric {
  return {
    expert,
    norm: { gate: null, up: null, down: null, all: norm },
    distance: null,
    nearest: null,
    effectiveRank: null,
    routerNorm: null,
    flags,
    duplicateOf: null,
  };
}

describe('grid of experts', () => {
  const layer = (at: number, experts: ExpertMetric[]): [number, LayerExperts] => [
    at,
    { layer: at, experts, rankOf: null, router: null, cosine: null, notes: [] },
  ];
  const text = metricTexts()[0];
  if (text === undefined) throw new Error('no metrics');

  test('places by layer and expert; layers not computed are empty; shared stand last', () => {
    const layers = [
      { layer: 3, experts: 2, shared: true },
      { layer: 5, experts: 2, shared: false },
    ];
    const grid = gridOf(
      layers,
      new Map([layer(3, [metric(1, 7), metric('shared', 9), metric(0, 0, ['dead'])])]),
      'norm',
    );
    expect([...grid.values]).toEqual([0, 7, 9, NaN, NaN, NaN]);
    expect(grid.columns).toEqual(['0', '1', 'shared']);
    expect([grid.min, grid.max]).toEqual([7, 9]);
    expect(markOf(grid.at(0, 0))).toBe('×');
    expect(gridSummary(grid, text)).toBe(
      'Norm from 0 (layer 3, expert 0) to 9 (layer 3, expert shared), mean 5.333. Flagged: 1 dead.',
    );
  });
  test('experts that no layer should have are not drawn into another row', () => {
    const grid = gridOf(
      [{ layer: 0, experts: 1, shared: false }],
      new Map([layer(0, [metric(0, 1), metric(5, 2), metric('shared', 3)])]),
      'norm',
    );
    expect([...grid.values]).toEqual([1]);
  });
});

describe('comparison in words', () => {
  const summary = {
    identical: null,
    equal: 10,
    changed: 0,
    added: 3,
    removed: 0,
    reshaped: 0,
    dtypeChanged: 0,
    notCompared: 0,
    valuesCompared: false,
  } as unknown as CompareSummary;
  test('says whether values were compared', () => {
    expect(compareLine(summary)).toBe('Structure only: 3 added, 10 equal. Values are not compared yet.');
    expect(compareLine({ ...summary, valuesCompared: true, identical: false, changed: 1 })).toBe(
      '1 changed, 3 added, 10 equal.',
    );
    expect(compareLine({ ...summary, identical: true })).toContain('same bytes');
  });
  test('says where feed-forward tensors went', () => {
    expect(asExpertsLine({ ...summary, asExperts: { a: 36, b: 1288 } })).toBe(
      'Feed-forward tensors (36 of A, 1,288 of B) are compared in Experts.',
    );
    expect(asExpertsLine({ ...summary, asExperts: { a: 0, b: 0 } })).toBeNull();
  });
  test('experts are matched into a grid', () => {
    const expert = (layer: number, at: CompareExpert['expert'], relativeL2: number | null): CompareExpert => ({
      layer,
      expert: at,
      relativeL2,
      exactScale: null,
      neurons: 'all',
      found: 1,
      width: 1,
      gate: null,
      up: null,
      down: null,
      note: null,
    });
    const grid = matchGrid([expert(4, 1, 0.5), expert(2, 0, 0), expert(2, 'shared', null)]);
    expect(grid.layers).toEqual([2, 4]);
    expect([...grid.values]).toEqual([0, NaN, NaN, NaN, 0.5, NaN]);
    expect(matchSummary(grid, 'dense-vs-moe')).toBe(
      '1 of 2 experts equal their dense parent; the farthest is 0.5 away (layer 4, expert 1).',
    );
    expect(matchSummary(grid, 'moe-vs-moe')).toContain('1 of 2 experts equal their counterparts;');
    const same = matchGrid([expert(0, 0, 0), expert(0, 1, 0)]);
    expect([...same.values].map((value) => place(value, same.min, same.max))).toEqual([0, 0]);
    expect(matchSummary(same, 'dense-vs-moe')).toBe('All 2 experts equal their dense parent.');
    expect(matchText(expert(0, 0, 0), 'moe-vs-moe')).toContain('equal to its counterpart');
  });
});

function field(
  control: RecipeField['control'],
  value: RecipeField['value'],
  more: Partial<RecipeField> = {},
): RecipeField {
  return {
    path: ['experts'],
    field: 'experts',
    label: 'Experts',
    about: '',
    expected: 'a number',
    control,
    choices: [],
    min: null,
    max: null,
    value,
    resolved: null,
    origin: 'default',
    disabled: null,
    problems: [],
    ...more,
  };
}

describe('recipe fields', () => {
  test('a text is the value that its control means', () => {
    const value = (control: RecipeField['control'], text: string, more: Partial<RecipeField> = {}): unknown => {
      const parsed = parseText(field(control, null, more), text);
      return parsed.ok ? parsed.value : parsed;
    };
    expect(value('number', ' 1_024 ')).toBe(1024);
    expect(value('number', '2e-2')).toBe(0.02);
    expect(value('number', '')).toMatchObject({ ok: false });
    expect(value('number', 'eight')).toMatchObject({ ok: false, message: 'expected a number' });
    expect(value('number', '0', { min: 1 })).toMatchObject({ ok: false, message: 'at least 1' });
    expect(value('number', '9', { max: 8 })).toMatchObject({ ok: false, message: 'at most 8' });
    expect([value('size', '5GB'), value('size', '5000')]).toEqual(['5GB', 5000]);
    expect([value('layers', 'all'), value('layers', '[0, 2,5]'), value('layers', '0-15')]).toEqual([
      'all',
      [0, 2, 5],
      '0-15',
    ]);
    expect([value('choice', 'auto'), value('choice', 'true'), value('choice', 'false')]).toEqual(['auto', true, false]);
    expect(value('json', '{"a": [1]}')).toEqual({ a: [1] });
    expect(value('json', '{')).toMatchObject({ ok: false });
    expect(value('path', ' ./a b ')).toBe(' ./a b ');
  });
  test('what is shown reads back as the same value', () => {
    const cases: [RecipeField['control'], RecipeField['value']][] = [
      ['number', 0.02],
      ['size', 5e9],
      ['size', '2GiB'],
      ['layers', [0, 3, 9]],
      ['layers', 'every:2'],
      ['choice', true],
      ['json', { deep: { er: [1, 'x', null] } }],
      ['text', 'a'],
    ];
    for (const [control, value] of cases) {
      const one = field(control, value);
      expect(parseText(one, shownText(one))).toEqual({ ok: true, value });
    }
  });
  test('every field stands in exactly one group', () => {
    const all = ['base', 'experts', 'router', 'output', 'expert_init', 'new_thing', 'config'].map((head) =>
      field('text', null, { path: [head], field: head }),
    );
    const grouped = groupFields(all).flatMap(({ fields }) => fields);
    expect(new Set(grouped)).toEqual(new Set(all));
    expect(grouped).toHaveLength(all.length);
    expect(groupFields(all).at(-1)?.id).toBe('more');
  });
  test('only what was written can be reset; resolved is told where it differs', () => {
    expect([
      isSet(field('text', 1)),
      isSet(field('text', 1, { origin: 'preset x' })),
      isSet(field('text', 1, { origin: 'a.moe.yaml line 3' })),
    ]).toEqual([false, false, true]);
    expect(resolvedText(field('choice', 'auto', { resolved: 'mixtral' }))).toBe('mixtral');
    expect(resolvedText(field('choice', 'mixtral', { resolved: 'mixtral' }))).toBeNull();
  });
});

describe('remembered view', () => {
  test('foreign and old states give the defaults, never an error', () => {
    fc.assert(
      fc.property(fc.anything(), (saved) => {
        expect(readView(saved)).toMatchObject({ filter: expect.any(String) as string });
      }),
    );
    expect(readView({ filter: 'x', tab: 'nowhere' })).toEqual(readView(null));
    expect(readView({ filter: 'x' }).filter).toBe('x');
  });
  test('groups opened under a filter do not change those without', () => {
    const plain = readView({ toggled: ['a'] });
    const filtered = { ...plain, filter: 'q' };
    expect(groups(filtered).toggled).toEqual([]);
    const changed = { ...filtered, ...withGroups(filtered, 'default', toggle(groups(filtered).toggled, 'b')) };
    expect(groups(changed).toggled).toEqual(['b']);
    expect(groups({ ...changed, filter: '' }).toggled).toEqual(['a']);
    expect(toggle(['a', 'b'], 'a')).toEqual(['b']);
  });
});
