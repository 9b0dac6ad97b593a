/** Option values: numbers in their ranges, texts given directly or on standard input, texts in files. */
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { usageError } from './command.ts';
import type { Context } from './command.ts';

/** A whole number; undefined where the option is not given. */
export function wholeOption({ args }: Context, name: string, least = 0, most = Infinity): number | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < least)
    throw usageError('bad-number', `--${name} is "${text}", expected a whole number from ${least} on`);
  if (value > most) throw usageError('bad-number', `--${name} is ${text}, expected at most ${most}`);
  return value;
}

/** Any finite number; undefined where the option is not given. */
export function numberOption({ args }: Context, name: string): number | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) throw usageError('bad-number', `--${name} is "${text}", expected a number`);
  return value;
}

/** Token ids as "1,2,3"; undefined where the option is not given. */
export function idsOption({ args }: Context, name: string): number[] | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const ids = text.split(',').map((word) => (/^\s*\d+\s*$/.test(word) ? Number(word) : Number.NaN));
  if (ids.some((id) => !Number.isSafeInteger(id)))
    throw usageError('bad-ids', `--${name} is "${text}", expected whole numbers with commas between them: 1,2,3`);
  return ids;
}

/** The text of an option; "-" reads standard input verbatim. Undefined where the option is not given. */
export async function textOption({ args, io }: Context, name: string): Promise<string | undefined> {
  const text = args.text(name);
  return text === '-' ? decode(await io.input(), 'standard input') : text;
}

/** The contents of a text file, which is not empty. */
export async function textFile({ io }: Context, file: string): Promise<string> {
  if (file === '') throw usageError('text-missing', '--text names no file');
  try {
    const text = decode(await collect(createReadStream(resolve(io.cwd, file)), file), file);
    if (text === '') throw new MoeError('input', 'text-empty', `${file} is empty: there is nothing to run`, { file });
    return text;
  } catch (error) {
    if (error instanceof MoeError) throw error;
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'not-found' : 'file-unreadable',
      missing ? `${file} does not exist` : `${file} cannot be read: ${messageOf(error)}`,
      { file },
      { cause: error },
    );
  }
}

/** Texts are tokenised whole; what is larger than this comes from a device, or by mistake. */
const MOST_TEXT_BYTES = 2 ** 28;

/** All bytes of a stream. Throws `text-too-large` rather than read on without end. */
export async function collect(stream: AsyncIterable<unknown>, from: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.length;
    if (size > MOST_TEXT_BYTES)
      throw new MoeError(
        'input',
        'text-too-large',
        `${from} holds more than ${String(MOST_TEXT_BYTES / 2 ** 20)} MiB of text`,
        {
          file: from,
          hint: 'Give a part of it.',
        },
      );
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Uint8Array, from: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new MoeError(
      'input',
      'text-not-utf8',
      `${from} is not valid UTF-8 text`,
      { file: from, hint: 'Convert it to UTF-8.' },
      { cause: error },
    );
  }
}
