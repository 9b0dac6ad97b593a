/** The proof by running: a source and what was made of it on the same tokens; the outcome is kept in the manifest. */
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { messageOf } from '../common/errors.ts';
import { proofInput } from '../score/proof-input.ts';
import { judgeLogits, windowsOf } from '../verify/logits.ts';
import type { LogitProof } from '../verify/logits.ts';
import { MANIFEST_NAME } from '../write/documents.ts';
import { keepProof } from '../write/manifest-proof.ts';
import { readManifest } from '../write/manifest.ts';
import { TOOL_VERSION } from '../write/version.ts';
import type { RemoteModel } from './client.ts';

export interface ProveOptions {
  /** The dense base, opened and running. */
  readonly source: Checkpoint;
  readonly reference: RemoteModel;
  /** The written folder, running. */
  readonly out: string;
  readonly model: RemoteModel;
  /** Null: the built-in text, or made-up ids where there is no tokenizer for it. */
  readonly text: string | null;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
  /** What to tell besides. */
  readonly note?: (message: string) => void;
}

/** Runs both, judges the difference by the class in the output's manifest, and records the outcome there. */
export async function proveLogits(options: ProveOptions): Promise<LogitProof> {
  const { source, reference, out, model, text, onProgress } = options;
  const manifest = join(out, MANIFEST_NAME);
  const { plan, planHash } = readManifest(manifest);
  const { ids, input } = proofInput(source, text, reference.facts.vocabSize);
  const windows = windowsOf(ids, Math.min(reference.facts.maxPositions, model.facts.maxPositions));
  const difference = await model.differenceFrom(reference, windows, onProgress);
  const proof = judgeLogits(difference, plan.exactness.class, `${ids.length} tokens of ${input}`);
  try {
    await keepProof(manifest, planHash, {
      at: new Date().toISOString(),
      tool: `moe-workbench ${TOOL_VERSION}`,
      ...proof,
    });
  } catch (error) {
    options.note?.(`the result is not kept, ${manifest} cannot be written: ${messageOf(error)}`);
  }
  return proof;
}
