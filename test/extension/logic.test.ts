/** Host logic that needs no editor: words, links, edits, places, pages. */
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isJsonObject } from '../../src/common/json.ts';
import { hubName, nameOf } from '../../src/extension/checkpoint-session.ts';
import { pageActions } from '../../src/extension/error-actions.ts';
import { groupFiles, hubCacheFolder } from '../../src/extension/find-checkpoints.ts';
import { ago, jobContext, progressText, statusText } from '../../src/extension/job-words.ts';
import { parseLink } from '../../src/extension/link.ts';
import { sidesOf } from '../../src/extension/native-compare.ts';
import { escapeHtml, messageHtml, pageHtml } from '../../src/extension/page-html.ts';
import { hoverText, placeAt, suggestionsAt } from '../../src/extension/recipe-completion.ts';
import { defaultOutput } from '../../src/extension/default-output.ts';
import { countProblem, portable, recipeDraft, recipeFileName } from '../../src/extension/recipe-draft.ts';
import { replacementOf } from '../../src/extension/text-edit.ts';
import { MoeError } from '../../src/common/errors.ts';
import type { JobView } from '../../src/protocol/jobs.ts';
import { recipeJsonSchema } from '../../src/recipe/json-schema.ts';
import { loadRecipe } from '../../src/recipe/load.ts';

vi.mock('vscode', () => import('./vscode-stub.ts'));

describe('the smallest edit', () => {
  it('turns one text into the other and touches nothing beside it', () => {
    const texts = fc.string({ unit: fc.constantFrom('a', 'b', '\n', '\r\n', '😀', 'é'), maxLength: 30 });
    fc.assert(
      fc.property(texts, texts, (before, after) => {
        const edit = replacementOf(before, after);
        if (edit === null) return before === after;
        const made = before.slice(0, edit.from) + edit.text + before.slice(edit.to);
        const whole = [before.slice(0, edit.from), edit.text, before.slice(edit.to)];
        return made === after && whole.every((part) => Buffer.from(part).toString() === part);
      }),
    );
  });

  it('is as short as can be', () => {
    expect(replacementOf('experts: 4 # few\n', 'experts: 8 # few\n')).toEqual({ from: 9, to: 10, text: '8' });
    expect(replacementOf('a\r\nb', 'a\nb')).toEqual({ from: 1, to: 3, text: '\n' });
  });
});

describe('a recipe of the wizard', () => {
  it('reads back as what was chosen', () => {
    const file = '/models/tiny-4x.moe.yaml';
    const choices = { base: '/models/tiny: #1', target: 'mixtral', preset: null, experts: 4, topK: 2 };
    const text = recipeDraft(choices, file);
    const { recipe, basePath } = loadRecipe({ file, text });
    expect(basePath).toBe('/models/tiny: #1');
    expect(recipe).toMatchObject({ target: 'mixtral', experts: 4, top_k: 2 });
    expect(text).toMatch(/^# /);
  });

  it('keeps a preset', () => {
    const text = recipeDraft(
      { base: '/m/a', target: 'auto', preset: 'drop-upcycling', experts: 8, topK: 2 },
      '/m/a.moe.yaml',
    );
    expect(loadRecipe({ file: '/m/a.moe.yaml', text }).recipe.expert_init.method).toBe('drop');
  });

  it('has a name and an output beside it', () => {
    expect(recipeFileName('/x/tiny-llama', 4)).toBe('tiny-llama-4x.moe.yaml');
    expect(recipeFileName('/x/SmolLM.Q8_0.gguf', 8)).toBe('SmolLM.Q8_0-8x.moe.yaml');
    expect(recipeFileName('/c/models--org--name/snapshots/abc', 8)).toBe('org-name-8x.moe.yaml');
    expect(defaultOutput('/x/tiny-4x.moe.yaml')).toBe('/x/tiny-4x');
    expect(portable('/a/b/model', '/a/b/r.moe.yaml')).toBe('model');
    expect(portable('/far/away', '/a/b/c/d/r.moe.yaml')).toBe('/far/away');
  });

  it('takes whole numbers alone', () => {
    expect(['4', '1'].map((text) => countProblem(text, 8, 'n'))).toEqual([null, null]);
    expect(['', '0', '9', '1.5', 'x', '-1', '1e9'].map((text) => countProblem(text, 8, 'n') === null)).not.toContain(
      true,
    );
  });
});

describe('completion', () => {
  const schema = JSON.parse(JSON.stringify(recipeJsonSchema())) as unknown;
  const at = (text: string): string[] => {
    const lines = text.split('\n');
    const line = lines.length - 1;
    if (!isJsonObject(schema)) throw new TypeError('no schema');
    return suggestionsAt(schema, placeAt(lines, line, lines[line]?.length ?? 0), new Set(['base'])).map((s) => s.label);
  };

  it('offers fields, members and values', () => {
    expect(at('base: x\n')).toEqual(expect.arrayContaining(['experts', 'top_k', 'router']));
    expect(at('base: x\n')).not.toContain('base');
    expect(at('router:\n  ')).toEqual(expect.arrayContaining(['init', 'std', 'order']));
    expect(at('router:\n  init: ')).toEqual([
      'normal',
      'uniform',
      'zero',
      'orthogonal',
      'hidden',
      'hidden_avg',
      'cheap_embed',
    ]);
    expect(at('router: { init: ')).toEqual([
      'normal',
      'uniform',
      'zero',
      'orthogonal',
      'hidden',
      'hidden_avg',
      'cheap_embed',
    ]);
    expect(at('target: ')).toContain('qwen3_moe');
    expect(at('expert_init:\n  method: ')).toEqual(expect.arrayContaining(['copy', 'noise', 'svd']));
    expect(at('output:\n  clone: ')).toEqual(expect.arrayContaining(['auto', 'true', 'false']));
    expect(at('preset: ')).toContain('mixtral-8x');
  });

  it('never throws, wherever the cursor is', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', ':', ' ', '\n', '-', '{', '}', ','), maxLength: 40 }),
        (text) => {
          at(text);
        },
      ),
    );
  });

  it('tells what a field means', () => {
    expect(hoverText(['router', 'std'])).toContain('Standard deviation');
    expect(hoverText(['constructor'])).toBeNull();
  });
});

describe('links', () => {
  it('open local paths and nothing else', () => {
    expect(parseLink('/open', 'path=/m/a&tensor=x.weight')).toEqual({
      path: '/m/a',
      place: { tab: 'tensors', tensor: 'x.weight', layer: null, expert: null },
    });
    expect(parseLink('/open', 'path=/m/a&layer=3&expert=1')?.place).toMatchObject({
      tab: 'experts',
      layer: 3,
      expert: 1,
    });
    for (const query of ['path=relative', 'path=//host/share/x', 'path=', '', 'path=/a%00b'])
      expect(parseLink('/open', query), query).toBeNull();
    expect(parseLink('/run', 'path=/m/a')).toBeNull();
    expect(parseLink('/open', 'path=/m/a&layer=-1&tab=nonsense')?.place).toMatchObject({ tab: null, layer: null });
  });
});

describe('pages', () => {
  const parts = { cspSource: 'https://w', script: 's.js', styles: ['a.css'], language: 'en', translations: null };

  it('allow nothing inline and no network', () => {
    const html = pageHtml({ ...parts, title: 'x' });
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(html)?.[1] ?? '';
    expect(policy).toContain('default-src &#39;none&#39;');
    expect(html).not.toMatch(/unsafe|connect-src|\son\w+=/);
    const nonces = [1, 2].map(() => /nonce="([^"]+)"/.exec(pageHtml({ ...parts, title: 'x' }))?.[1] ?? '');
    expect(nonces[0]).not.toBe(nonces[1]);
    expect(Buffer.from(nonces[0] ?? '', 'base64')).toHaveLength(24);
  });

  it('keep hostile names as text', () => {
    const hostile = `"><script>alert(1)</script>'&`;
    const html = pageHtml({ ...parts, title: hostile, translations: { a: hostile } });
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).toContain(escapeHtml(hostile));
    expect(messageHtml(hostile)).not.toContain(hostile);
    expect(messageHtml(hostile)).toContain(escapeHtml(hostile));
  });
});

describe('names', () => {
  it('are those that people know', () => {
    expect(nameOf('/m/tiny/model.safetensors')).toBe('tiny');
    expect(nameOf('/m/tiny/config.json')).toBe('tiny');
    expect(nameOf('/m/SmolLM.gguf')).toBe('SmolLM.gguf');
    expect(nameOf('/c/models--HuggingFaceTB--SmolLM2-135M/snapshots/0a1b')).toBe('HuggingFaceTB/SmolLM2-135M');
    expect(hubName('/plain')).toBeNull();
  });
});

describe('checkpoints of a workspace', () => {
  it('are folders with a config or an index, and lone files', () => {
    const found = groupFiles([
      '/w/a/model-00001-of-00002.safetensors',
      '/w/a/model-00002-of-00002.safetensors',
      '/w/a/model.safetensors.index.json',
      '/w/b/lora.safetensors',
      '/w/c/q4.gguf',
      '/w/c/big-00001-of-00002.gguf',
      '/w/c/big-00002-of-00002.gguf',
      '/w/.moe.moe-partial-0123456789ab/out/config.json',
      '/w/.moe.moe-partial-0123456789ab/out/model.safetensors',
    ]);
    expect(found.map(({ path, files }) => [path, files])).toEqual([
      ['/w/a', 2],
      ['/w/b/lora.safetensors', 1],
      ['/w/c/big-00001-of-00002.gguf', 2],
      ['/w/c/q4.gguf', 1],
    ]);
  });

  it('of the hub lie where its tools put them', () => {
    expect(hubCacheFolder('', { HF_HUB_CACHE: '/x' })).toBe('/x');
    expect(hubCacheFolder('', { HF_HOME: '/h' })).toBe(join('/h', 'hub'));
    expect(hubCacheFolder('', { XDG_CACHE_HOME: '/c' })).toBe(join('/c', 'huggingface', 'hub'));
    expect(hubCacheFolder('/own', { HF_HOME: '/h' })).toBe('/own');
  });
});

describe('the editor’s own comparing', () => {
  const made = [
    { path: '/w/a/model.safetensors', at: 1000 },
    { path: '/w/b/other.gguf', at: 1100 },
  ];
  it('is told by label and viewers', () => {
    expect(sidesOf('model.safetensors ↔ other.gguf', made, 1200)).toEqual([
      '/w/a/model.safetensors',
      '/w/b/other.gguf',
    ]);
    expect(sidesOf('other.gguf ↔ model.safetensors', made, 1200)).toEqual([
      '/w/b/other.gguf',
      '/w/a/model.safetensors',
    ]);
    expect(sidesOf('model.safetensors ↔ other.gguf', made, 9000)).toBeNull();
    expect(sidesOf('model.safetensors', made, 1200)).toBeNull();
    expect(sidesOf('x ↔ y', made, 1200)).toBeNull();
  });
});

describe('jobs in words', () => {
  const job: JobView = {
    id: '1',
    kind: 'doctor',
    title: 'Examine x',
    status: 'running',
    params: { kind: 'doctor', path: '/x', rebuildIndex: false },
    created: '2026-01-01T00:00:00Z',
    started: '2026-01-01T00:00:00Z',
    ended: null,
    progress: null,
    usage: null,
    outcome: null,
    resultFile: null,
    error: null,
    cancelling: false,
    mine: true,
    place: null,
    resumable: false,
    repeats: null,
    logFile: '/l',
  };
  const progress = {
    phase: 'write' as const,
    bytesDone: 42,
    bytesTotal: 100,
    tensorsDone: 1,
    tensorsTotal: 2,
    at: 'x',
    bytesPerSecond: 1e9,
    etaSeconds: 3,
  };

  it('say how far they are and what can be done', () => {
    expect(progressText(progress)).toMatch(/^writing 42 %, 1.* GB\/s, 3.* s left$/);
    expect(statusText(job)).toBe('starting');
    expect(statusText({ ...job, progress, mine: false })).toContain('another window');
    expect(
      statusText({ ...job, status: 'done', ended: '2026-01-01T00:00:00Z' }, Date.parse('2026-01-01T00:05:00Z')),
    ).toBe('done 5 min ago');
    expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-03-01T00:00:00Z'))).toBe('2026-01-01');
    expect(jobContext(job)).toBe('job.open.doctor');
    const ended = { ...job, status: 'interrupted' as const, resumable: true, kind: 'upcycle' as const };
    expect(jobContext(ended)).toBe('job.ended.doctor.resumable');
    expect(jobContext({ ...job, status: 'done', outcome: { ok: true, summary: '' } })).toBe(
      'job.ended.doctor.report.result',
    );
  });
});

describe('error pages', () => {
  it('offer what fits the error', () => {
    const ids = (code: string): string[] =>
      pageActions(new MoeError('input', code, 'x', { file: 'f' })).map(({ id }) => id);
    expect(ids('index-json')).toContain('rebuildIndex');
    expect(ids('git-lfs-pointer')).toContain('openText');
    expect(ids('file-truncated')).toEqual(['reload', 'examine', 'reveal', 'copyDiagnostics']);
  });
});
