/** The proof by running: a source and what was made of it on the same tokens; the outcome is kept beside the manifest. */
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { messageOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { proofInput } from '../score/proof-input.ts';
import { PROOF_NAME, judgeLogits, windowsOf } from '../verify/logits.ts';
import type { LogitProof } from '../verify/logits.ts';
import { MANIFEST_NAME } from '../write/documents.ts';
import { readManifest } from '../write/manifest.ts';
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

/** Runs both, judges the difference by the class in the output's manifest, and writes moe-proof.json there. */
export async function proveLogits(options: ProveOptions): Promise<LogitProof> {
  const { source, reference, out, model, text, onProgress } = options;
  const { plan, planHash } = readManifest(join(out, MANIFEST_NAME));
  const { ids, input } = proofInput(source, text, reference.facts.vocabSize);
  const windows = windowsOf(ids, Math.min(reference.facts.maxPositions, model.facts.maxPositions));
  const difference = await model.differenceFrom(reference, windows, onProgress);
  const proof = judgeLogits(difference, plan.exactness.class, `${ids.length} tokens of ${input}`);
  const file = join(out, PROOF_NAME);
  try {
    await writeWhole(file, `${JSON.stringify({ schema: 'moe-workbench/proof@1', planHash, ...proof }, null, 2)}\n`);
  } catch (error) {
    options.note?.(`the result is not kept, ${file} cannot be written: ${messageOf(error)}`);
  }
  return proof;
}
