/** Help texts, made from the commands' own specifications. */
import { table, wrap } from '../report/text.ts';
import type { Style } from '../report/text.ts';
import { COMMON_OPTIONS } from './command.ts';
import type { CommandSpec } from './command.ts';
import { COMMANDS } from './commands/index.ts';
import { VERSION } from './version.ts';

/** `moe help`. */
export function overview(style: Style): string {
  const rows = COMMANDS.map(({ spec }) => [`  ${spec.name}`, spec.summary]);
  return `${style.bold('moe')} ${VERSION}: dense LLM checkpoints to Mixture-of-Experts and back

Usage: moe COMMAND … [--json]

${table([{ title: '' }, { title: '' }], rows, style)}

  moe help COMMAND shows a command's options; moe --version the version.

${EXIT_TEXT}
`;
}

const EXIT_TEXT =
  'Exit codes: 0 ok, 1 the check failed, 2 usage, 3 bad input or impossible request,\n4 resources (disk, memory), 130 cancelled.';

/** `moe help COMMAND`. */
export function commandHelp(spec: CommandSpec, style: Style): string {
  const rows = Object.entries({ ...spec.options, ...COMMON_OPTIONS }).map(([name, option]) => [
    `  ${option.short === undefined ? '' : `-${option.short}, `}--${name}${option.type === 'string' ? ` ${option.value ?? 'TEXT'}` : ''}`,
    option.help,
  ]);
  const usage = spec.usage.map((line, i) => `${i === 0 ? 'Usage:' : '      '} moe ${spec.name} ${line}`.trimEnd());
  return `${style.bold(`moe ${spec.name}`)}: ${spec.summary}

${usage.join('\n')}

${spec.about.map((text) => wrap(text, 100)).join('\n\n')}

${table([{ title: '' }, { title: '' }], rows, style)}
`;
}
