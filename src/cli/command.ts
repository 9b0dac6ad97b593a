/** What a command is, and reading its arguments. */
import { parseArgs } from 'node:util';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { nearestName } from '../recipe/nearest.ts';
import type { Style } from '../report/text.ts';
import type { CliIo } from './io.ts';

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Placeholder of the value in help. */
  readonly value?: string;
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** Synopsis lines after `moe NAME`. */
  readonly usage: readonly string[];
  /** Paragraphs of the help text. */
  readonly about: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Least and most positional arguments. */
  readonly positionals: readonly [number, number];
}

/** Arguments as given, with typed look-ups. */
export class Args {
  constructor(
    readonly positionals: readonly string[],
    private readonly values: Readonly<Record<string, unknown>>,
  ) {}
  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === 'string' ? value : undefined;
  }
  texts(name: string): string[] {
    const value = this.values[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  }
  flag(name: string): boolean {
    return this.values[name] === true;
  }
}

/** What a command's `run` gets. */
export interface Context {
  readonly io: CliIo;
  readonly args: Args;
  readonly json: boolean;
  /** For standard output. */
  readonly style: Style;
  /** A line for people, on standard error. */
  readonly log: (line: string) => void;
}

export interface Command {
  readonly spec: CommandSpec;
  /** Resolves with the exit code. */
  readonly run: (context: Context) => Promise<number>;
}

export const COMMON_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  json: { type: 'boolean', help: 'JSON alone on standard output; logs and progress on standard error' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
};

export function usageError(code: string, message: string, hint?: string): MoeError {
  return new MoeError('usage', code, message, hint === undefined ? {} : { hint });
}

/** Parses the arguments of a command. Throws usage errors that name the nearest option. */
export function parseCommandArgs(spec: CommandSpec, argv: readonly string[]): Args {
  const options = { ...spec.options, ...COMMON_OPTIONS };
  const hint = `moe help ${spec.name}`;
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      strict: true,
      options: Object.fromEntries(
        Object.entries(options).map(([name, { type, short, multiple }]) => [
          name,
          { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
        ]),
      ),
    });
  } catch (error) {
    throw argumentError(error, options, hint);
  }
  const [least, most] = spec.positionals;
  const { positionals } = parsed;
  const args = new Args(positionals, parsed.values);
  if (args.flag('help')) return args;
  if (positionals.length > most)
    throw usageError(
      'too-many-arguments',
      `moe ${spec.name} takes ${most === 0 ? 'no' : `at most ${most}`} arguments, got ${positionals.length}: ${positionals.join(' ')}`,
      hint,
    );
  if (positionals.length < least)
    throw usageError('argument-missing', `moe ${spec.name} needs ${spec.usage[0] ?? ''}`, hint);
  const empty = positionals.findIndex((text) => text === '');
  if (empty >= 0) throw usageError('argument-empty', `argument ${empty + 1} is empty`, hint);
  return args;
}

function argumentError(error: unknown, options: Readonly<Record<string, OptionSpec>>, help: string): MoeError {
  const code = systemCodeOf(error);
  const message = messageOf(error);
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const option = /'(-[^']*)'/.exec(message)?.[1] ?? '';
    const near = nearestName(option.replace(/^-+/, ''), Object.keys(options));
    return usageError(
      'unknown-option',
      `unknown option ${option}${near === undefined ? '' : `; did you mean --${near}?`}`,
      help,
    );
  }
  const option = /^Option '(--[\w-]+)[^']*' argument is ambiguous/.exec(message)?.[1];
  if (option !== undefined)
    return usageError(
      'bad-option',
      `the value of ${option} begins with "-": write ${option}=VALUE if it is meant`,
      help,
    );
  // Node's words are plain enough: "Option '--set <value>' argument missing".
  return usageError('bad-option', message.split('\n')[0] ?? message, help);
}
