/** The plan as JSON text, and back. What is written has everything that executing, verifying and reverting need. */
import type { SourceTensor } from '../checkpoint/types.ts';
import type * as z from 'zod';
import { MoeError } from '../common/errors.ts';
import type { Expr } from './expr.ts';
import { planHash } from './hash.ts';
import { planSchema } from './schema.ts';
import { traceSources } from './sources.ts';
import type { Plan, PlanSource } from './types.ts';

/** Looks a source tensor of the plan up; throws MoeError when an expression names one that is not there. */
export function planSourceLookup(
  sources: readonly PlanSource[],
): (from: number, tensor: string) => Omit<SourceTensor, 'name'> {
  return (from, tensor) => {
    const found = sources[from]?.tensors.get(tensor);
    if (found === undefined) {
      throw new MoeError(
        'input',
        'plan-source',
        `The plan reads ${tensor} of source ${String(from)}, which it does not list`,
        { tensor },
      );
    }
    return found;
  };
}

/** Everything but the output tensors, without the closing brace: what planJsonChunks and the manifest begin with. */
export function* planHeadChunks(plan: Plan): Generator<string> {
  const { sources, tensors: _tensors, ...head } = plan;
  yield `${JSON.stringify(head).slice(0, -1)},\n"sources":[`;
  for (const [index, { tensors: sourceTensors, ...source }] of sources.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(source).slice(0, -1)},"tensors":{`;
    yield* joined(
      [...sourceTensors],
      ([name, { dtype, shape, file, begin, bytes }]) =>
        `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join()}],"file":${JSON.stringify(file)},"begin":${String(begin)},"bytes":${String(bytes)}}`,
    );
    yield '}}';
  }
  yield ']';
}

/**
 * The plan's JSON in pieces, so that a plan with a million tensors needs no string of its size. Each tensor also lists its
 * `sources`, derived from its expression.
 */
export function* planJsonChunks(plan: Plan): Generator<string> {
  const { sources, tensors } = plan;
  yield* planHeadChunks(plan);
  yield ',\n"tensors":[';
  const lookup = planSourceLookup(sources);
  // Replicas stand side by side in a layer but not in the files: remember what was derived, within bounds.
  const derived = new Map<Expr, string>();
  const tail = (expr: Expr): string => {
    const known = derived.get(expr);
    if (known !== undefined) return known;
    const made = `"sources":${JSON.stringify(traceSources(expr, lookup))},"expr":${JSON.stringify(expr)}`;
    if (derived.size < 50_000) derived.set(expr, made);
    return made;
  };
  yield* joined(
    tensors,
    ({ name, dtype, shape, bytes, file, expr }) =>
      `{"name":${JSON.stringify(name)},"dtype":"${dtype}","shape":[${shape.join()}],"bytes":${String(bytes)},"file":"${file}",${tail(expr)}}`,
  );
  yield ']}\n';
}

function* joined<T>(items: readonly T[], text: (item: T) => string): Generator<string> {
  for (let start = 0; start < items.length; start += 1024) {
    const block = items.slice(start, start + 1024).map(text);
    yield `${start === 0 ? '\n' : ',\n'}${block.join(',\n')}`;
  }
}

/** The whole plan as one text; for plans of ordinary size. */
export function planToText(plan: Plan): string {
  return [...planJsonChunks(plan)].join('');
}

/** Reads a plan back and checks its hash. `what` names the file in messages. Throws MoeError kind input. */
export function parsePlan(text: string, what: string): Plan {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new MoeError(
      'input',
      'plan-json',
      `${what} is not JSON`,
      { file: what, hint: 'Make it with `plan … --save FILE`.' },
      { cause: error },
    );
  }
  const result = planSchema.safeParse(data);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue?.path.join('.') ?? '';
    throw new MoeError(
      'input',
      'plan-schema',
      `${what} is not a plan of this version: ${where}: ${issue?.message ?? 'invalid'}`,
      {
        file: what,
        field: where,
        hint: 'Make it again with `plan … --save FILE`.',
      },
    );
  }
  const plan = planOf(result.data);
  if (planHash(plan) !== plan.hash) {
    throw new MoeError(
      'input',
      'plan-hash',
      `${what} was changed after it was made: its hash does not match its contents`,
      {
        file: what,
        hint: 'Plans are not edited by hand; change the recipe and plan again.',
      },
    );
  }
  return plan;
}

/** A plan as validated, with its sources' tensors by name. */
export function planOf(data: z.output<typeof planSchema>): Plan {
  const sources = data.sources.map((source) => ({ ...source, tensors: new Map(Object.entries(source.tensors)) }));
  return { ...data, sources } as Plan;
}
