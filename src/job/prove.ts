/** The proof by logits of a verify job: source and output run on the same tokens. */
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { messageOf } from '../common/errors.ts';
import type { DeviceChoice } from '../protocol/jobs.ts';
import { proofInput } from '../score/proof-input.ts';
import { PROOF_NAME, judgeLogits, windowsOf } from '../verify/logits.ts';
import type { LogitProof } from '../verify/logits.ts';
import { MANIFEST_NAME } from '../write/documents.ts';
import { readManifest } from '../write/manifest.ts';
import type { JobContext } from './context.ts';
import { counted, withModels, writeWhole } from './run-models.ts';

/** Runs both in float32 and keeps the outcome beside the manifest, as `moe verify --logits` does. */
export async function proveLogits(
  out: string,
  source: Checkpoint,
  device: DeviceChoice,
  context: JobContext,
): Promise<LogitProof> {
  const { plan, planHash } = readManifest(join(out, MANIFEST_NAME));
  return withModels([source.path, out], device, context, async ({ models: [reference, model] }) => {
    if (reference === undefined || model === undefined) throw new Error('two models were asked for');
    const { vocabSize, maxPositions } = reference.facts;
    const { ids, input } = proofInput(source, null, vocabSize);
    const windows = windowsOf(ids, Math.min(maxPositions, model.facts.maxPositions));
    const difference = await model.differenceFrom(reference, windows, ({ done, total }) => {
      context.progress(counted('logits', done, total, out));
    });
    const proof = judgeLogits(difference, plan.exactness.class, `${String(ids.length)} tokens of ${input}`);
    const text = JSON.stringify({ schema: 'moe-workbench/proof@1', planHash, ...proof }, null, 2);
    await writeWhole(join(out, PROOF_NAME), `${text}\n`).catch((error: unknown) => {
      context.log('warning', `The result is not kept, ${PROOF_NAME} cannot be written: ${messageOf(error)}`);
    });
    return proof;
  });
}
