import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rowsPage, located, tensorFacts } from '../../src/protocol/checkpoint.ts';
import { naturalCompare } from '../../src/view/natural.ts';
import { TensorRows } from '../../src/view/tensor-rows.ts';
import type { RowView, TreeRow } from '../../src/view/wire-types.ts';
import { checkpointOf, smallMoe, viewOf } from './make.ts';
import type { Spec } from './make.ts';

function all(rows: TensorRows, view: RowView): readonly TreeRow[] {
  const page = rows.page({ view, start: 0, count: 2000 });
  rowsPage.parse(page);
  expect(page.rows).toHaveLength(page.total);
  return page.rows;
}

const outline = (rows: readonly TreeRow[]): string[] =>
  rows.map(
    (row) =>
      `${'  '.repeat(row.level - 1)}${row.label}${row.kind === 'group' && row.repeats !== null ? ` ×${String(row.repeats)}` : ''}`,
  );

describe('tree of a small MoE', () => {
  const rows = new TensorRows(checkpointOf(smallMoe()));

  it('collapses like layers and experts and shows every module at first', () => {
    expect(outline(all(rows, viewOf()))).toEqual([
      'lm_head.weight',
      'model',
      '  embed_tokens.weight',
      '  layers.0',
      '    input_layernorm.weight',
      '    mlp.up_proj.weight',
      '    self_attn.q_proj.weight',
      '  layers.1–3 ×3',
      '    input_layernorm.weight ×3',
      '    mlp',
      '      experts.0, 1 ×2',
      '        gate_proj.weight ×6',
      '        up_proj.weight ×6',
      '      gate.weight ×3',
      '    self_attn.q_proj.weight ×3',
    ]);
  });

  it('sums what is in a group', () => {
    const group = all(rows, viewOf()).find((row) => row.label === 'layers.1–3');
    // Three layers of q [8,8] bf16, norm [8] f32, gate [2,8] bf16, 4 × [16,8] bf16.
    expect(group).toMatchObject({ tensors: 21, elements: 3 * (64 + 8 + 16 + 512), bytes: 3 * (128 + 32 + 32 + 1024) });
    expect(group).toMatchObject({ shape: null, role: null, severity: null });
    expect(group?.kind === 'group' ? [...group.dtypes].sort() : []).toEqual(['BF16', 'F32']);
    const experts = all(rows, viewOf()).find((row) => row.label === 'experts.0, 1');
    expect(experts).toMatchObject({ shape: [16, 8], role: 'expert', dtypes: ['BF16'] });
  });

  it('toggles groups by id, and the id stays when other groups change', () => {
    const norm = all(rows, viewOf()).find((row) => row.label === 'input_layernorm.weight' && row.kind === 'group');
    const opened = all(rows, viewOf({ toggled: [norm?.id ?? ''] }));
    expect(opened.filter((row) => row.kind === 'tensor').map((row) => row.label)).toContain(
      'model.layers.2.input_layernorm.weight',
    );
    expect(opened).toHaveLength(18);
    expect(all(rows, viewOf({ open: 'none' }))).toHaveLength(2);
    expect(all(rows, viewOf({ open: 'none', toggled: [norm?.id ?? ''] }))).toHaveLength(2);
  });

  it('tells layer, expert and role of tensors', () => {
    const tensor = all(rows, viewOf({ shape: 'flat' })).find((row) => row.label.includes('layers.2.mlp.experts.1.up'));
    expect(tensor).toMatchObject({
      kind: 'tensor',
      layer: 2,
      expert: 1,
      role: 'expert',
      shape: [16, 8],
      file: 'b.safetensors',
    });
  });

  it('keeps quantisation, alternating layers and grown indices apart or together by what is in them', () => {
    const specs: Spec[] = [];
    for (let layer = 0; layer < 6; layer++) {
      specs.push([`h.${String(layer)}.${layer % 2 === 0 ? 'mlp' : 'moe'}.w1.weight`]);
      specs.push([`h.${String(layer)}.fc.expert_${String(layer)}.weight`]);
    }
    for (let e = 0; e < 3; e++) specs.push([`x.linear_fc1.weight${String(e)}`]);
    const labels = all(new TensorRows(checkpointOf(specs)), viewOf({ open: 'all' })).map((row) => row.label);
    expect(labels).toContain('x.linear_fc1.weight0–2');
    expect(labels).toContain('x.linear_fc1.weight1');
  });

  it('locates a tensor and opens what hides it', () => {
    for (const open of ['default', 'all', 'none'] as const) {
      for (const tensor of checkpointOf(smallMoe()).tensors.keys()) {
        const found = rows.locate({ view: viewOf({ open }), tensor });
        located.parse(found);
        const row = all(rows, found.view)[found.index ?? -1];
        expect(row?.kind === 'tensor' ? row.name : row).toBe(tensor);
      }
    }
    expect(rows.locate({ view: viewOf(), tensor: 'nowhere' }).index).toBeNull();
    expect(rows.locate({ view: viewOf({ filter: 'role:norm' }), tensor: 'lm_head.weight' }).index).toBeNull();
  });

  it('carries severities up and facts along', () => {
    const tensor = 'model.layers.2.mlp.experts.1.up_proj.weight';
    const problem = { severity: 'warning' as const, code: 'x', message: 'odd', tensor, details: { a: 1 } };
    const marked = new TensorRows(checkpointOf(smallMoe()), [problem]);
    const found = all(marked, viewOf());
    expect(found.filter((row) => row.severity === 'warning').map((row) => row.label)).toEqual([
      'model',
      'layers.1–3',
      'mlp',
      'experts.0, 1',
      'up_proj.weight',
    ]);
    const facts = marked.facts(tensor);
    tensorFacts.parse(facts);
    expect(facts?.problems).toEqual([{ severity: 'warning', code: 'x', message: 'odd', tensor }]);
    expect(facts?.python).toContain('f.get_tensor("model.layers.2.mlp.experts.1.up_proj.weight")');
    expect(marked.facts('nowhere')).toBeNull();
  });
});

describe('any names', () => {
  const token = fc.oneof(
    fc.constantFrom(
      'layers',
      'experts',
      'mlp',
      'w1',
      'weight',
      'weight0',
      'expert_3',
      '#',
      '',
      '__proto__',
      'constructor',
      'é',
    ),
    fc.integer({ min: 0, max: 12 }).map(String),
    fc.constantFrom('007', '999999999', '12345678901'),
  );
  const names = fc.uniqueArray(
    fc.array(token, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('.')),
    { maxLength: 40 },
  );

  it('every tensor has one row when all is open; pages are cuts of the whole; siblings are counted', () => {
    fc.assert(
      fc.property(
        names,
        fc.nat(50),
        fc.nat(20),
        fc.constantFrom('name', 'size', 'file'),
        fc.boolean(),
        (list, start, count, order, descending) => {
          const rows = new TensorRows(
            checkpointOf(list.map((name, i) => [name, [1 + (i % 5), 3], 'BF16', `f${String(i % 3)}`])),
          );
          const view = viewOf({ open: 'all', order, descending });
          const whole = all(rows, view);
          const tensors = whole.filter((row) => row.kind === 'tensor').map((row) => row.name);
          expect([...tensors].sort()).toEqual([...list].sort());
          expect(rows.page({ view, start, count }).rows).toEqual(whole.slice(start, start + count));
          expect(new Set(whole.map((row) => row.id)).size).toBe(whole.length);
          const tops = whole.filter((row) => row.level === 1);
          expect(tops.map((row) => row.position)).toEqual(tops.map((_, i) => i + 1));
          expect(tops.reduce((sum, row) => sum + (row.kind === 'group' ? row.tensors : 1), 0)).toBe(list.length);
          for (const name of list) {
            const found = rows.locate({ view: viewOf({ open: 'none', order, descending }), tensor: name });
            const row = rows.page({ view: found.view, start: found.index ?? 9999, count: 1 }).rows[0];
            expect(row?.kind === 'tensor' ? row.name : null).toBe(name);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('flat order by name is the natural order token by token', () => {
    const slow = (a: string, b: string): number => {
      const x = a.split('.');
      const y = b.split('.');
      for (let i = 0; i < Math.min(x.length, y.length); i++) {
        const [s = '', t = ''] = [x[i], y[i]];
        const both = /^\d{1,9}$/.test(s) && /^\d{1,9}$/.test(t);
        const order = both ? Number(s) - Number(t) : naturalCompare(s, t);
        if (order !== 0) return order;
      }
      return x.length - y.length || naturalCompare(a, b);
    };
    const plain = fc.constantFrom('layers', 'experts', 'mlp', 'w1', 'w2', 'w10', 'bias');
    const part = fc.oneof(plain, fc.integer({ min: 0, max: 12 }).map(String));
    const list = fc.uniqueArray(
      fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => `a.${parts.join('.')}`),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(list, (some) => {
        const rows = new TensorRows(checkpointOf(some.map((name) => [name])));
        const flat = all(rows, viewOf({ shape: 'flat' })).map((row) => row.label);
        expect(flat).toEqual([...some].sort(slow));
        expect(all(rows, viewOf({ shape: 'flat', descending: true })).map((row) => row.label)).toEqual(
          [...flat].reverse(),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('compares numbers of any length and is a strict order', () => {
    expect(['w10', 'w9', 'w1', 'w09', 'w123456789012345678901', 'w123456789012345678900'].sort(naturalCompare)).toEqual(
      ['w1', 'w09', 'w9', 'w10', 'w123456789012345678900', 'w123456789012345678901'],
    );
    const name = fc.string({ unit: fc.constantFrom('a', '0', '1', '9', '.'), maxLength: 6 });
    fc.assert(
      fc.property(name, name, name, (a, b, c) => {
        expect(Math.sign(naturalCompare(a, b)) + Math.sign(naturalCompare(b, a))).toBe(0);
        expect(naturalCompare(a, b) === 0).toBe(a === b);
        if (naturalCompare(a, b) < 0 && naturalCompare(b, c) < 0) expect(naturalCompare(a, c)).toBeLessThan(0);
      }),
    );
  });

  it('shows tensors in pieces as the box around them', () => {
    const piece = { file: 'a', dtype: 'F32' as const, shape: [2, 4], begin: 0, bytes: 32 };
    const pieces = new Map([
      [
        'w',
        [
          { ...piece, offsets: [0, 0] },
          { ...piece, offsets: [2, 0] },
        ],
      ],
    ]);
    const rows = new TensorRows(checkpointOf([], { pieces }));
    expect(all(rows, viewOf())[0]).toMatchObject({ kind: 'tensor', name: 'w', shape: [4, 4], bytes: 64 });
    expect(rows.facts('w')?.statsUnavailable).toContain('pieces');
  });
});

describe('size', () => {
  it('lists 500,000 tensors in bounded time', () => {
    const specs: Spec[] = [];
    const shape = [64, 64];
    for (let layer = 0; layer < 58; layer++) {
      for (let e = 0; e < 2874; e++) {
        for (const part of ['gate_proj', 'up_proj', 'down_proj'])
          specs.push([
            `model.layers.${String(layer)}.mlp.experts.${String(e)}.${part}.weight`,
            shape,
            'BF16',
            `f${String(e % 200)}`,
          ]);
      }
    }
    const cp = checkpointOf(specs);
    const cpu = process.cpuUsage();
    const rows = new TensorRows(cp);
    const page = rows.page({ view: viewOf(), start: 0, count: 200 });
    expect(process.cpuUsage(cpu).user / 1e6).toBeLessThan(4);
    expect(page.tensors).toBe(specs.length);
    expect(page.rows.map((row) => row.label)).toEqual([
      'model.layers.0–57',
      'mlp.experts.0–2873',
      'down_proj.weight',
      'gate_proj.weight',
      'up_proj.weight',
    ]);
    const deep = rows.page({ view: viewOf({ open: 'all' }), start: 400_000, count: 50 });
    expect(deep.rows).toHaveLength(50);
  });
});
