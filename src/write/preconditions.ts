/** What must hold before a byte is written: the sources are those of the plan, and equal tensors are equal. */
import { isDtype } from 'safetensors-js';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import type { SourceSet } from '../evaluate/index.ts';
import type { Plan } from '../plan/types.ts';
import { counted } from '../common/words.ts';

/** Throws `source-mismatch` or `source-plan-only` unless every tensor that the plan reads is there as planned. */
export function checkSources(plan: Plan, checkpoints: readonly Checkpoint[]): void {
  if (checkpoints.length !== plan.sources.length) {
    throw new MoeError(
      'input',
      'source-mismatch',
      `The plan reads ${counted(plan.sources.length, 'checkpoint', 'checkpoints')}, ${counted(checkpoints.length, 'was', 'were')} given.`,
    );
  }
  plan.sources.forEach((source, from) => {
    const checkpoint = checkpoints[from];
    if (checkpoint === undefined) return;
    if (checkpoint.planOnly) {
      throw new MoeError(
        'input',
        'source-plan-only',
        `"${checkpoint.path}" has no weights: it can be planned, not written.`,
        {
          file: checkpoint.path,
          hint: 'Get the weight files first.',
        },
      );
    }
    for (const [name, planned] of source.tensors) {
      const found = checkpoint.tensors.get(name);
      const place = {
        tensor: name,
        file: planned.file,
        hint: 'The plan was made from another checkpoint: plan again.',
      };
      if (found === undefined) {
        throw new MoeError(
          'input',
          'source-mismatch',
          `"${checkpoint.path}" has no tensor "${name}", which the plan reads.`,
          place,
        );
      }
      if (
        found.dtype !== planned.dtype ||
        found.shape.join() !== planned.shape.join() ||
        found.bytes !== planned.bytes
      ) {
        throw new MoeError(
          'input',
          'source-mismatch',
          `"${name}" is ${found.dtype} [${found.shape.join(', ')}], ${grouped(found.bytes)} bytes; the plan was made for ${planned.dtype} [${planned.shape.join(', ')}], ${grouped(planned.bytes)} bytes.`,
          place,
        );
      }
      checkIsWhole(checkpoint, found.file, name);
    }
  });
}

function checkIsWhole(checkpoint: Checkpoint, fileName: string, tensor: string): void {
  const file = checkpoint.files.find(({ name }) => name === fileName);
  if (file?.state === 'ok') return;
  throw new MoeError(
    'input',
    'source-file-missing',
    `The weight file "${fileName}" is ${file?.state ?? 'missing'}; the plan reads "${tensor}" from it.`,
    { file: fileName, tensor, hint: 'Get the file and run again.' },
  );
}

/** Data that the plan takes for granted, compared by digest. Throws `precondition-failed` with the plan's own message. */
export async function checkPreconditions(plan: Plan, sources: SourceSet, signal?: AbortSignal): Promise<void> {
  for (const { from, a, b, message } of plan.preconditions) {
    const first = sources.tensor(from, a);
    const second = sources.tensor(from, b);
    const sameKind = first.dtype === second.dtype && first.bytes === second.bytes && isDtype(first.dtype);
    const same = sameKind && (await sources.digest(from, a, signal)) === (await sources.digest(from, b, signal));
    if (!same) throw new MoeError('input', 'precondition-failed', message, { tensor: b });
  }
}
