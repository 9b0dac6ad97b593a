/**
 * moe-manifest.json: the plan, digests of everything that was read and written, and what is needed to rebuild the dense
 * files bit for bit. No absolute path is in it. Its last member is the sha256 of all bytes before it, so that a damaged
 * manifest is known as such.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { basename, isAbsolute } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import type { Resolved } from '../evaluate/index.ts';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { planHash } from '../plan/hash.ts';
import { planHeadChunks, planOf } from '../plan/json.ts';
import { planSchema } from '../plan/schema.ts';
import type { Plan } from '../plan/types.ts';

export const MANIFEST_SCHEMA = 'moe-workbench/manifest@1';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const plainName = z
  .string()
  .min(1)
  .max(255)
  .refine((text) => !/[/\\\0]/.test(text) && text !== '.' && text !== '..', 'must be a plain file name');
const size = z.number().int().nonnegative();

const documentSchema = z.object({
  name: plainName,
  origin: z.enum(['generated', 'copied', 'kept']),
  bytes: size,
  sha256,
  /** Small generated files themselves, deflated, base64: so that a flipped bit in them can be placed. */
  content: z.string().optional(),
});

const sourceSchema = z.object({
  /** Folder or repository name, for people. */
  name: z.string(),
  format: z.enum(['hf', 'safetensors', 'gguf']),
  /** sha256 over each tensor's bytes as they lie in the source. */
  tensors: z.record(z.string(), sha256),
  /** Weight files whose header is kept, so that they can be rebuilt; empty for GGUF. */
  files: z.array(
    z.object({ name: plainName, bytes: size, headerBytes: size, header: z.string(), headerSha256: sha256 }),
  ),
  /** Small tensors that no output holds, deflated, base64. */
  inline: z.record(z.string(), z.string()),
  /** Files that the output replaces by its own: deflated, base64. */
  replaced: z.array(z.object({ name: plainName, bytes: size, content: z.string(), sha256 })),
});

/** What the data decided: see evaluate/resolved.ts. */
export const resolvedSchema = z.object({
  redraw: z.record(z.string(), z.object({ mean: z.number(), std: z.number() })),
  normShard: z.record(z.string(), z.object({ owners: z.string() })),
  svd: z.record(
    z.string(),
    z.object({ rank: z.number(), residual: z.number(), steps: z.number(), basisSha256: sha256 }),
  ),
  gates: z.record(z.string(), z.object({ rows: z.string() })).default({}),
});

export const manifestSchema = z.object({
  schema: z.literal(MANIFEST_SCHEMA),
  toolVersion: z.string(),
  created: z.string(),
  planHash: sha256,
  seed: z.number(),
  recipe: z.unknown(),
  documents: z.array(documentSchema),
  sources: z.array(sourceSchema).min(1),
  resolved: resolvedSchema,
  notes: z.array(z.string()),
  /** sha256 of each tensor; of each part in order where experts are stacked in one tensor. */
  tensors: z.record(z.string(), z.array(sha256).min(1)),
  plan: planSchema,
  /** What running both models has shown (manifest-proof.ts); nothing is decided by it. */
  proof: z.unknown().optional(),
  selfDigest: sha256,
});

export interface ManifestDocument {
  readonly name: string;
  readonly origin: 'generated' | 'copied' | 'kept';
  readonly bytes: number;
  readonly sha256: string;
  readonly content?: string | undefined;
}
export type ManifestSource = z.infer<typeof sourceSchema>;

export interface Manifest {
  readonly schema: typeof MANIFEST_SCHEMA;
  readonly toolVersion: string;
  readonly created: string;
  readonly planHash: string;
  readonly seed: number;
  readonly documents: readonly ManifestDocument[];
  readonly sources: readonly ManifestSource[];
  readonly resolved: Resolved;
  readonly notes: readonly string[];
  readonly tensors: ReadonlyMap<string, readonly string[]>;
  readonly plan: Plan;
}

/** Bytes as deflated base64, and back. */
export function pack(bytes: Uint8Array): string {
  return deflateRawSync(bytes, { level: 6 }).toString('base64');
}

/** Throws `manifest-damaged` where the text does not hold exactly `bytes` bytes. */
export function unpack(text: string, bytes: number, what: string): Buffer {
  try {
    const out = inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: Math.max(1, bytes) });
    if (out.length === bytes) return out;
  } catch {
    // Falls through to the same complaint.
  }
  throw damaged(`its copy of ${what} cannot be unpacked`);
}

function damaged(what: string): MoeError {
  return new MoeError('check', 'manifest-damaged', `moe-manifest.json is damaged: ${what}.`, {
    file: 'moe-manifest.json',
    hint: 'Restore it from where the model came from; without it nothing can be proven or undone.',
  });
}

/** The plan without absolute paths; they are not part of its hash. */
function withoutPaths(plan: Plan): Plan {
  const bare = (path: string): string => (isAbsolute(path) || /^[A-Za-z]:[\\/]/.test(path) ? basename(path) : path);
  return {
    ...plan,
    recipe: {
      ...plan.recipe,
      base: plan.recipe.base === null ? null : bare(plan.recipe.base),
      parents: plan.recipe.parents.map((parent) => ({ ...parent, path: bare(parent.path) })),
    },
    sources: plan.sources.map((source) => ({ ...source, path: bare(source.path) })),
  };
}

export interface ManifestInput extends Omit<Manifest, 'schema' | 'planHash' | 'seed' | 'tensors'> {
  readonly tensors: Iterable<readonly [string, readonly string[]]>;
}

/** The manifest's text in pieces: a plan of a million tensors needs no string of its size. */
export function* manifestChunks(input: ManifestInput): Generator<Buffer> {
  const hash = createHash('sha256');
  const emit = (text: string): Buffer => {
    const bytes = Buffer.from(text, 'utf8');
    hash.update(bytes);
    return bytes;
  };
  const plan = withoutPaths(input.plan);
  const head = {
    schema: MANIFEST_SCHEMA,
    toolVersion: input.toolVersion,
    created: input.created,
    planHash: plan.hash,
    seed: plan.recipe.seed,
    recipe: plan.recipe,
    documents: input.documents,
  };
  yield emit(`${JSON.stringify(head, null, 1).slice(0, -2)},\n "sources": [`);
  for (const [index, source] of input.sources.entries())
    yield emit(`${index === 0 ? '' : ','}\n${JSON.stringify(source)}`);
  yield emit(
    `],\n "resolved": ${JSON.stringify(input.resolved)},\n "notes": ${JSON.stringify(input.notes)},\n "tensors": {`,
  );
  yield* lines(input.tensors, ([name, digests]) => `${JSON.stringify(name)}:${JSON.stringify(digests)}`, emit);
  yield emit('},\n "plan": ');
  for (const chunk of planHeadChunks(plan)) yield emit(chunk);
  yield emit(',"tensors":[');
  yield* lines(plan.tensors, (tensor) => JSON.stringify(tensor), emit);
  yield emit(']},\n "selfDigest": "');
  yield Buffer.from(`${hash.digest('hex')}"\n}\n`, 'utf8');
}

function* lines<T>(items: Iterable<T>, text: (item: T) => string, emit: (text: string) => Buffer): Generator<Buffer> {
  let block: string[] = [];
  let lead = '\n';
  for (const item of items) {
    block.push(lead + text(item));
    lead = ',\n';
    if (block.length < 1024) continue;
    yield emit(block.join(''));
    block = [];
  }
  yield emit(block.join(''));
}

const TAIL = /^([0-9a-f]{64})"\n\}\n$/;
const TAIL_BYTES = 64 + 4;

/**
 * Reads and checks a manifest. Throws `manifest-missing` (input), `manifest-damaged` (check: its own digest is wrong) or
 * `manifest-version` (input).
 */
export function readManifest(path: string): Manifest {
  let bytes: Buffer;
  try {
    const facts = statSync(path);
    if (!facts.isFile()) throw damaged('it is no regular file');
    if (facts.size > 2 ** 31 - 2) throw damaged('it is larger than 2 GiB');
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof MoeError) throw error;
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'manifest-missing' : 'manifest-unreadable',
      missing ? 'There is no moe-manifest.json here.' : `moe-manifest.json cannot be read: ${messageOf(error)}`,
      {
        file: 'moe-manifest.json',
        hint: 'Only checkpoints written by this tool carry one; name the output folder itself.',
      },
    );
  }
  sealOf(bytes);
  return parseManifest(bytes.toString('utf8'));
}

/** Where a manifest's own digest begins. Throws `manifest-damaged` where it is not that of the bytes before it. */
export function sealOf(bytes: Buffer): { readonly end: number } {
  const end = bytes.length - TAIL_BYTES;
  const tail = end > 0 ? TAIL.exec(bytes.toString('latin1', end)) : null;
  if (tail?.[1] === undefined) throw damaged('it does not end as it was written (cut off or edited)');
  const own = createHash('sha256').update(bytes.subarray(0, end)).digest('hex');
  if (own !== tail[1]) throw damaged(`its digest is ${own.slice(0, 12)}…, recorded was ${tail[1].slice(0, 12)}…`);
  return { end };
}

function parseManifest(text: string): Manifest {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw damaged(messageOf(error));
  }
  const result = manifestSchema.safeParse(data);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new MoeError(
      'input',
      'manifest-version',
      `moe-manifest.json is not of a form that this version knows: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}.`,
      { file: 'moe-manifest.json', field: issue?.path.join('.') ?? '' },
    );
  }
  const { plan: parsed, tensors, ...rest } = result.data;
  const plan = planOf(parsed);
  if (planHash(plan) !== plan.hash || plan.hash !== rest.planHash)
    throw damaged('the plan in it does not have the hash it states');
  return { ...rest, plan, tensors: new Map(Object.entries(tensors)) };
}
