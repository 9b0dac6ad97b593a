/** A tied model that stores its head anyway: are the two copies equal? */
import type { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import { grouped } from '../common/errors.ts';
import { parseTensorName } from '../inspect/index.ts';
import type { InspectReport } from '../inspect/index.ts';

/** Bytes compared at a time: both copies are read as copies of their own, so this stays small. */
const STEP = 2 ** 20;

/** Compares lm_head with the embedding where the report says that both are stored although they are tied. */
export async function compareHead(cp: Checkpoint, report: InspectReport, reader: RangeReader): Promise<Problem[]> {
  const found = report.problems.find((problem) => problem.code === 'tied-with-head');
  const head = found?.tensor === undefined ? undefined : cp.tensors.get(found.tensor);
  const embed = [...cp.tensors.values()].find(({ name }) => {
    const { role, tower, layer } = parseTensorName(name);
    return role === 'embed' && tower === 'text' && layer === null;
  });
  if (head === undefined || embed === undefined) return [];
  if (head.dtype !== embed.dtype || head.bytes !== embed.bytes)
    return [differs(head.name, embed.name, 'shape or dtype', 0)];
  for (let at = 0; at < head.bytes; at += STEP) {
    const length = Math.min(STEP, head.bytes - at);
    const a = await reader.bytes(head.file, head.begin + at, length);
    const b = await reader.bytes(embed.file, embed.begin + at, length);
    if (a.equals(b)) continue;
    let first = 0;
    while (a[first] === b[first]) first++;
    return [differs(head.name, embed.name, `the byte at ${grouped(at + first)}`, head.begin + at + first)];
  }
  return [
    {
      severity: 'info',
      code: 'tied-head-equal',
      tensor: head.name,
      message: `${head.name} is equal to ${embed.name} byte for byte: the second copy can be left out`,
    },
  ];
}

function differs(head: string, embed: string, what: string, byte: number): Problem {
  return {
    severity: 'error',
    code: 'tied-head-differs',
    tensor: head,
    byte,
    message: `tie_word_embeddings is true, but ${head} and ${embed} differ (${what}): which one is used depends on the loader`,
    hint: 'Set tie_word_embeddings to false if the head was trained on its own, or remove it.',
  };
}
