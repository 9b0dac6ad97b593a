import {
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
  closeSync,
  statSync,
  truncateSync,
  appendFileSync,
  readdirSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isJsonObject } from '../../src/common/json.ts';
import type { JsonObject, JsonValue } from '../../src/common/json.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { cli, errorOf, scratch } from './helpers.ts';

const [folder, remove] = scratch();
const at = (...names: string[]): string => join(folder, ...names);
beforeAll(async () => {
  await writeSampleCheckpoint(at('dense'));
});
afterAll(remove);

const run = (...argv: string[]): ReturnType<typeof cli> => cli(argv, { cwd: folder });

function list(value: JsonValue | undefined): JsonObject[] {
  if (!Array.isArray(value)) throw new Error('no list');
  return value.filter((item): item is JsonObject => isJsonObject(item));
}

describe('config and index alone', () => {
  it('can be planned, with the sizes of the whole folder, and not written', async () => {
    const plan = (await run('plan', 'dense', '--json')).json();
    const names = list(plan['tensors']).flatMap((tensor) => list(tensor['sources']).map((source) => source['tensor']));
    const weightMap = Object.fromEntries(
      names.map((name, i) => [String(name), `model-0000${i % 2 === 0 ? 1 : 2}-of-00002.safetensors`]),
    );
    mkdirSync(at('headless'));
    cpSync(at('dense', 'config.json'), at('headless', 'config.json'));
    writeFileSync(
      at('headless', 'model.safetensors.index.json'),
      JSON.stringify({ metadata: {}, weight_map: weightMap }),
    );
    const headless = await run('plan', 'headless', '--json');
    expect(headless.code).toBe(0);
    expect(headless.json()).toMatchObject({ target: plan['target'], exactness: plan['exactness'] });
    const written = await run('upcycle', 'headless', 'headless-moe', '--json');
    expect(written.code).toBe(3);
    expect(errorOf(written)['message']).toMatch(/no weights/);
    expect(existsSync(at('headless-moe'))).toBe(false);
  });
});

describe('inspect --json', () => {
  it('has the fields of the contract', async () => {
    const ran = await run('inspect', 'dense', '--json');
    expect(ran.code).toBe(0);
    expect(ran.json()).toMatchObject({
      format: 'hf',
      modelType: 'llama',
      kind: 'dense',
      tensorCount: 74,
      parameters: { total: 1509760, active: 1509760 },
      bytes: 3019520,
      dtypes: { BF16: 74 },
      shards: 1,
      tied: true,
      problems: [],
    });
  });

  it('a file that the reference reader refuses is exit 3; trailing bytes still list the tensors', async () => {
    cpSync(at('dense', 'model.safetensors'), at('long.safetensors'));
    appendFileSync(at('long.safetensors'), 'extra!!!');
    const long = await run('inspect', 'long.safetensors', '--json');
    expect(long.code).toBe(3);
    expect(errorOf(long)).toMatchObject({ code: 'trailing-bytes' });
    expect(errorOf(long)['tensors']).toHaveLength(74);
    expect(errorOf(long)['hint']).toBeTypeOf('string');

    cpSync(at('dense', 'model.safetensors'), at('short.safetensors'));
    truncateSync(at('short.safetensors'), statSync(at('short.safetensors')).size - 6);
    const short = await run('inspect', 'short.safetensors', '--json');
    expect(short.code).toBe(3);
    expect(errorOf(short)).toMatchObject({ code: 'file-truncated' });
  });

  it('a lone file has no model type; a missing path is exit 3', async () => {
    cpSync(at('dense', 'model.safetensors'), at('lone.safetensors'));
    expect((await run('inspect', 'lone.safetensors', '--json')).json()).toMatchObject({
      format: 'safetensors',
      modelType: null,
    });
    expect(await run('inspect', 'nowhere', '--json')).toMatchObject({ code: 3 });
  });
});

describe('plan --json', () => {
  it('has the fields of the contract, with the source bytes of every tensor', async () => {
    const ran = await run('plan', 'dense', '--json', '--set', 'experts=4');
    expect(ran.code).toBe(0);
    const plan = ran.json();
    for (const key of [
      'schema',
      'hash',
      'recipe',
      'target',
      'tensors',
      'exactness',
      'peakMemoryBytes',
      'physicalBytes',
      'warnings',
    ])
      expect(plan).toHaveProperty(key);
    expect(plan['hash']).toMatch(/^[0-9a-f]{64}$/);
    expect(plan['target']).toMatchObject({ modelType: 'mixtral', config: { num_local_experts: 4 } });
    const tensors = list(plan['tensors']);
    // 11 outside experts per layer are 7 kept and a router; 3 matrices for each of 4 experts; embeddings and final norm.
    expect(tensors).toHaveLength(8 * (6 + 1 + 3 * 4) + 2);
    const up = tensors.find((tensor) => tensor['name'] === 'model.layers.3.block_sparse_moe.experts.2.w3.weight');
    expect(up).toMatchObject({ dtype: 'BF16', shape: [352, 128], bytes: 352 * 128 * 2 });
    const [source] = list(up?.['sources']);
    expect(source).toMatchObject({
      file: 'model.safetensors',
      tensor: 'model.layers.3.mlp.up_proj.weight',
      dtype: 'BF16',
      slice: [
        [0, 352],
        [0, 128],
      ],
    });
    // The bytes named are those of the tensor in the file.
    const range = source?.['bytes'];
    if (!Array.isArray(range)) throw new Error('no bytes');
    expect(Number(range[1]) - Number(range[0])).toBe(352 * 128 * 2);
    const size = readFileSync(at('dense', 'model.safetensors')).length;
    expect(Number(range[1])).toBeLessThanOrEqual(size);
  });

  it('total and active parameters follow the formula', async () => {
    const target = (
      await run('plan', 'dense', '--json', '--set', 'experts=16', '--set', 'granularity=4', '--set', 'top_k=4')
    ).json()['target'];
    const dense = 1509760;
    const ffn = 3 * 128 * 352;
    expect(target).toMatchObject({
      parameters: {
        total: dense + 8 * (3 * ffn + 16 * 128),
        active: dense - 8 * ffn + 8 * (ffn + 16 * 128),
      },
    });
  });

  it('the hash does not depend on paths, nor on how values were given', async () => {
    cpSync(at('dense'), at('elsewhere', 'copy'), { recursive: true });
    writeFileSync(at('elsewhere', 'a.moe.yaml'), 'base: ./copy\nexperts: 4\nrouter: {init: zero}\n');
    const a = (await run('plan', 'dense', '--json', '--set', 'experts=4', '--set', 'router.init=zero')).json();
    const b = (await run('plan', '--recipe', 'elsewhere/a.moe.yaml', '--json')).json();
    expect(b['hash']).toBe(a['hash']);
    expect(a['exactness']).toMatchObject({ class: 'bit-exact' });
  });

  it('impossible requests are exit 3, whatever spelled them', async () => {
    for (const set of ['top_k=9', 'granularity=3', 'target=qwen3_moe', 'router.order=softmax-topk', 'layers=[99]']) {
      const sets = set.startsWith('router') ? ['--set', 'target=mixtral', '--set', set] : ['--set', set];
      const ran = await run('plan', 'dense', '--json', ...sets);
      expect([set, ran.code]).toEqual([set, 3]);
      expect(errorOf(ran)['message']).toBeTypeOf('string');
    }
  });

  it('--out says what cloning leaves, with the same hash', async () => {
    const plain = (await run('plan', 'dense', '--json')).json();
    const placed = (await run('plan', 'dense', '--json', '--out', 'not/yet/there')).json();
    expect(placed['hash']).toBe(plain['hash']);
    expect(Number(placed['physicalBytes'])).toBeLessThanOrEqual(Number(plain['physicalBytes']));
    expect(existsSync(at('not'))).toBe(false);
  });

  it('the text names patterns, totals and exactness', async () => {
    const { out } = await run(
      'plan',
      'dense',
      '--set',
      'expert_init.method=drop',
      '--set',
      'layers=0-3',
      '--set',
      'target=qwen2_moe',
    );
    expect(out).toMatch(/^llama → qwen2_moe: 8 experts, top-2\n/);
    expect(out).toContain('4 of 8 become MoE (0–3)');
    expect(out).toMatch(/0–3 +mlp\.up_proj +→ +experts 0–7 up_proj/);
    expect(out).toMatch(/4–7 +mlp\.up_proj +→ +mlp\.up_proj +copy/);
    expect(out).toContain('approximate');
  });
});

describe('upcycle, verify, revert, doctor, diff', () => {
  it('the whole way there and back, by a saved plan', async () => {
    expect((await run('plan', 'dense', '--set', 'experts=4', '--save', 'p.json')).code).toBe(0);
    const written = await run('upcycle', 'dense', 'moe', '--plan', 'p.json', '--json', '--verify');
    expect(written.code).toBe(0);
    const saved: unknown = JSON.parse(readFileSync(at('p.json'), 'utf8'));
    expect(written.json()).toMatchObject({
      alreadyComplete: false,
      planHash: isJsonObject(saved) ? saved['hash'] : '',
      target: { modelType: 'mixtral' },
      verification: { ok: true, againstSource: true },
    });
    expect((await run('verify', 'moe', '--json')).json()).toMatchObject({ ok: true, againstSource: false });
    expect((await run('verify', 'moe', '--source', 'dense', '--json')).json()).toMatchObject({
      ok: true,
      againstSource: true,
    });
    expect((await run('doctor', 'moe', '--json')).json()).toMatchObject({ healthy: true });

    const back = await run('revert', 'moe', 'back', '--json');
    expect([back.code, back.json()['identical']]).toEqual([0, true]);
    for (const name of readdirSync(at('dense')))
      expect(readFileSync(at('back', name)).equals(readFileSync(at('dense', name)))).toBe(true);
    expect((await run('diff', 'dense', 'back', '--json', '--exit-code')).json()).toMatchObject({ identical: true });
  });

  it('an existing output is refused (3), taken as done with --resume (0), replaced with --overwrite', async () => {
    const args = ['upcycle', 'dense', 'moe', '--set', 'experts=4', '--json'];
    const refused = await run(...args);
    expect([refused.code, errorOf(refused)['code']]).toEqual([3, 'output-exists']);
    expect((await run(...args, '--resume')).json()).toMatchObject({ alreadyComplete: true });
    const other = await run('upcycle', 'dense', 'moe', '--set', 'experts=2', '--json', '--overwrite');
    expect([other.code, other.json()['alreadyComplete']]).toEqual([0, false]);
  });

  it('one flipped bit is exit 1, named with tensor and byte', async () => {
    const files = readdirSync(at('moe')).filter((name) => name.endsWith('.safetensors'));
    const file = at('moe', files[0] ?? '');
    const where = statSync(file).size - 100;
    const handle = openSync(file, 'r+');
    const byte = Buffer.alloc(1);
    readSync(handle, byte, 0, 1, where);
    writeSync(handle, Buffer.from([(byte[0] ?? 0) ^ 4]), 0, 1, where);
    closeSync(handle);
    const ran = await run('verify', 'moe', '--source', 'dense', '--json');
    expect(ran.code).toBe(1);
    expect(ran.json()).toMatchObject({ ok: false, problemCount: 1 });
    expect(list(ran.json()['problems'])[0]).toMatchObject({ byte: where, file: files[0] });
    const text = await run('verify', 'moe', '--source', 'dense');
    expect(text.out).toContain('bit 2 flipped');
  });

  it('a recipe with a base needs no SRC, and its paths are its own', async () => {
    mkdirSync(at('recipes'));
    writeFileSync(at('recipes', 'r.moe.yaml'), 'base: ../dense\nexperts: 2\nexpert_init: noise\n');
    const written = await run('upcycle', 'noisy', '--recipe', 'recipes/r.moe.yaml', '--json');
    expect(written.code).toBe(0);
    expect(written.json()).toMatchObject({ exactness: { class: 'approximate' } });
    const back = await run('revert', 'noisy', 'never', '--json');
    expect([back.code, errorOf(back)['code']]).toEqual([3, 'not-revertible']);
    expect(existsSync(at('never'))).toBe(false);
    const missing = await run('upcycle', 'nothing', '--json');
    expect([missing.code, errorOf(missing)['code']]).toEqual([2, 'source-missing']);
  });

  it('doctor finds NaN: exit 1', async () => {
    cpSync(at('dense'), at('sick'), { recursive: true });
    const file = at('sick', 'model.safetensors');
    const handle = openSync(file, 'r+');
    writeSync(handle, Buffer.from([0xc0, 0x7f]), 0, 2, statSync(file).size - 2);
    closeSync(handle);
    const ran = await run('doctor', 'sick', '--json');
    expect([ran.code, ran.json()['healthy']]).toEqual([1, false]);
    expect((await run('doctor', 'sick')).out).toContain('not healthy');
  });

  it('diff is 0 where things differ, 1 with --exit-code, and lays experts beside their parent', async () => {
    expect((await run('diff', 'dense', 'noisy')).code).toBe(0);
    const ran = await run('diff', 'dense', 'noisy', '--json', '--exit-code');
    expect(ran.code).toBe(1);
    expect(ran.json()['experts']).toMatchObject({ mode: 'dense-vs-moe', dense: 'a' });
    expect((await run('diff', 'dense', 'noisy')).out).toContain('model.layers.{0–7}.block_sparse_moe.gate.weight (8)');
  });

  it('a plan that was edited, and one of another source, are refused', async () => {
    const text = readFileSync(at('p.json'), 'utf8');
    writeFileSync(
      at('edited.json'),
      text.replace('"top_k":2', '"top_k":1').replace('"num_experts_per_tok":2', '"num_experts_per_tok":1'),
    );
    const edited = await run('upcycle', 'dense', 'x1', '--plan', 'edited.json', '--json');
    expect([edited.code, errorOf(edited)['code']]).toEqual([3, 'plan-hash']);
    const other = await run('upcycle', 'noisy', 'x2', '--plan', 'p.json', '--json');
    expect([other.code, errorOf(other)['code']]).toEqual([3, 'source-mismatch']);
    const none = await run('upcycle', 'dense', 'x3', '--plan', 'none.json', '--json');
    expect([none.code, errorOf(none)['code']]).toEqual([3, 'plan-not-found']);
    expect(['x1', 'x2', 'x3'].filter((name) => existsSync(at(name)))).toEqual([]);
  });

  it('a saved plan replaces a plan but nothing else', async () => {
    expect((await run('plan', 'dense', '--save', 'p.json')).code).toBe(0);
    writeFileSync(at('notes.txt'), 'mine');
    const ran = await run('plan', 'dense', '--save', 'notes.txt', '--json');
    expect([ran.code, errorOf(ran)['code']]).toEqual([3, 'save-would-overwrite']);
    expect(readFileSync(at('notes.txt'), 'utf8')).toBe('mine');
  });

  it('cancelled is 130, leaves nothing under the final name and says how to go on', async () => {
    const cancel = new AbortController();
    cancel.abort();
    const ran = await cli(['upcycle', 'dense', 'gone', '--json'], { cwd: folder, signal: cancel.signal });
    expect([ran.code, errorOf(ran)['code']]).toEqual([130, 'cancelled']);
    expect(existsSync(at('gone'))).toBe(false);
  });
});

describe('recipe and presets', () => {
  it('recipe show prints text that loads to the same recipe', async () => {
    const sets = [
      'layers=0-3,6',
      'expert_init=drop',
      'config.rope_scaling={factor: 8, type: linear}',
      'shared_expert.plan=b',
      'shared_expert.width=64',
      'output.shard_size=500MB',
    ];
    const argv = ['recipe', 'show', '--preset', 'he-2024-e8g8t8', ...sets.flatMap((set) => ['--set', set])];
    const { out } = await run(...argv);
    writeFileSync(at('shown.moe.yaml'), out);
    const first = (await run(...argv, '--json')).json();
    const again = (await run('recipe', 'show', 'shown.moe.yaml', '--json')).json();
    expect(again['recipe']).toEqual(first['recipe']);
    expect(out).toMatch(/std: 0\.02 +# preset he-2024-e8g8t8/);
  });

  it('recipe validate lists all problems and exits 3, or says valid', async () => {
    writeFileSync(at('bad.moe.yaml'), 'experts: eight\ntopk: 1\n');
    const bad = await run('recipe', 'validate', 'bad.moe.yaml', '--json');
    expect(bad.code).toBe(3);
    expect(list(errorOf(bad)['problems']).map((problem) => problem['line'])).toEqual([1, 2]);
    writeFileSync(at('good.moe.yaml'), 'experts: 6\n');
    expect(await run('recipe', 'validate', 'good.moe.yaml')).toMatchObject({
      code: 0,
      out: 'good.moe.yaml: valid (moe-workbench)\n',
    });
  });

  it('recipe schema is the file that editors read', async () => {
    const file = readFileSync(new URL('../../media/recipe.schema.json', import.meta.url), 'utf8');
    expect((await run('recipe', 'schema')).out).toBe(file);
  });

  it('presets NAME shows values and assumptions', async () => {
    const { code, out } = await run('presets', 'vavre-2024');
    expect(code).toBe(0);
    expect(out).toContain('router_aux_loss_coef: 0.01');
    expect(out).toContain('34.4B total / 11.8B active');
    expect((await run('presets')).out).toContain('qwen-moe');
  });
});
