/**
 * The environment for programs of ours that are forked: Electron behaves as Node, and flags that were meant for the parent
 * (NODE_OPTIONS of an extension host) stay with it.
 */
export function childEnvironment(): Record<string, string | undefined> {
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  return { ...inherited, ELECTRON_RUN_AS_NODE: '1' };
}
