/** Putting results on standard output. */
import type { Context } from './command.ts';

/** Text or JSON, whichever was asked for. `text` is only made when it is wanted. */
export async function emit(context: Context, value: unknown, text: () => string): Promise<void> {
  if (!context.json) await context.io.out(text());
  else await context.io.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** Pieces of a large JSON text, one after the other, never joined. */
export async function emitChunks(context: Context, chunks: Iterable<string>): Promise<void> {
  for (const chunk of chunks) await context.io.out(chunk);
}
