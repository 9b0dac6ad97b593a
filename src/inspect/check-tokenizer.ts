/** The tokenizer against the embedding: rows that no token uses, and ids that no row has. */
import { readFile } from 'node:fs/promises';
import { problemOf } from '../checkpoint/errors.ts';
import type { Checkpoint, Problem, Sidecar } from '../checkpoint/types.ts';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import type { Facts } from './facts.ts';
import { tokenIds } from './tokenizer-ids.ts';
import { counted } from '../common/words.ts';

/** Far above any tokenizer (the largest are about 35 MB). */
const MAX_BYTES = 512 * 2 ** 20;

/** Compares ids with rows. Where there is no embedding or no tokenizer file, there is nothing to say. */
export async function checkTokenizer(cp: Checkpoint, facts: Facts): Promise<Problem[]> {
  const rows = facts.embed?.shape[0];
  if (facts.embed === null || rows === undefined) return [];
  const find = (name: string): Sidecar | undefined => cp.sidecars.find((sidecar) => sidecar.name === name);
  const tokenizer = find('tokenizer.json');
  const files = tokenizer === undefined ? [find('vocab.json'), find('added_tokens.json')] : [tokenizer];
  let tokens = 0;
  let highest = -1;
  const problems: Problem[] = [];
  const names: string[] = [];
  for (const file of files) {
    if (file === undefined) continue;
    if (file.bytes > MAX_BYTES) {
      problems.push({
        severity: 'info',
        code: 'tokenizer-not-checked',
        file: file.name,
        message: `${file.name} has ${grouped(file.bytes)} bytes and is not read`,
      });
      continue;
    }
    try {
      const bytes = file.text === undefined ? await readFile(file.path ?? '') : Buffer.from(file.text);
      const ids = tokenIds(bytes, file.name === 'tokenizer.json' ? 'tokenizer' : 'map', rows, file.name);
      names.push(file.name);
      tokens += ids.tokens;
      highest = Math.max(highest, ids.highest);
      if (ids.beyond.count > 0) problems.push(beyondRows(file.name, facts.embed.name, rows, ids.beyond, ids.highest));
    } catch (error) {
      if (error instanceof MoeError) problems.push(problemOf(error, file.name));
      else {
        problems.push({
          severity: 'error',
          code: 'file-unreadable',
          file: file.name,
          message: `${file.name} cannot be read: ${messageOf(error)}`,
        });
      }
    }
  }
  if (names.length > 0 && highest >= 0 && rows > highest + 1) {
    problems.push({
      severity: 'info',
      code: 'embedding-rows-beyond-tokenizer',
      tensor: facts.embed.name,
      message:
        `The embedding has ${grouped(rows)} rows, the tokenizer's highest id is ${grouped(highest)}: ` +
        `${grouped(rows - highest - 1)} rows are not used by any token (padding, or tokens added by other files)`,
      details: { rows, highestId: highest, tokens },
    });
  }
  return problems;
}

function beyondRows(
  file: string,
  tensor: string,
  rows: number,
  beyond: { readonly count: number; readonly first: string | null; readonly firstId: number },
  highest: number,
): Problem {
  const which =
    beyond.first === null
      ? `id ${grouped(beyond.firstId)}`
      : `${JSON.stringify(beyond.first)} (id ${grouped(beyond.firstId)})`;
  return {
    severity: 'error',
    code: 'token-ids-beyond-embedding',
    file,
    tensor,
    message: `${counted(beyond.count, 'token has an id', 'tokens have ids')} that the embedding has no row for (${grouped(rows)} rows, highest id ${grouped(highest)}); the first is ${which}`,
    hint: 'Tokenizer and weights are not of the same model, or the embedding was not resized after tokens were added.',
    details: { rows, highestId: highest, count: beyond.count },
  };
}
