/** The dense checkpoint that an MoE was made of, where that is known and still there. No vscode here. */
import { resolve } from 'node:path';
import type { Services } from './services.ts';

export async function parentOf(services: Pick<Services, 'sessions'>, path: string): Promise<string | null> {
  const ref = services.sessions.acquire(path);
  try {
    await ref.session.settled();
    const parent = ref.session.grid?.parent?.path;
    return parent === undefined ? null : resolve(parent);
  } finally {
    ref.dispose();
  }
}
