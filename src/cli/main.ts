/** The command line: finds the command, reads its arguments, runs it, turns failures into messages and exit codes. */
import type { MoeError } from '../common/errors.ts';
import { PLAIN } from '../report/text.ts';
import { nearestName } from '../recipe/nearest.ts';
import { COMMANDS } from './commands/index.ts';
import type { Context } from './command.ts';
import { parseCommandArgs, usageError } from './command.ts';
import { asMoeError, errorJson, errorText, exitCodeOf } from './errors.ts';
import { commandHelp, overview } from './help.ts';
import { styleFor } from './io.ts';
import type { CliIo } from './io.ts';
import { VERSION } from './version.ts';

/** Runs the command line and resolves with the exit code; nothing is thrown, and only `io` is touched. */
export async function main(argv: readonly string[], io: CliIo): Promise<number> {
  const json = wantsJson(argv);
  try {
    return await dispatch(argv, io, json);
  } catch (thrown) {
    const error = asMoeError(thrown, io.signal.aborted);
    await report(error, io, json);
    return exitCodeOf(error);
  }
}

/** Known before the arguments are parsed, since a fault of theirs is told as JSON too. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json');
}

async function report(error: MoeError, io: CliIo, json: boolean): Promise<void> {
  if (json) await io.out(`${JSON.stringify(errorJson(error), null, 2)}\n`);
  io.err(errorText(error, styleFor(io, io.errIsTty)));
  const debug = io.env['MOE_DEBUG'];
  if (debug !== undefined && debug !== '' && debug !== '0') {
    const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack ?? ''}` : '';
    io.err(`${error.stack ?? ''}${cause}\n`);
  }
}

async function dispatch(argv: readonly string[], io: CliIo, json: boolean): Promise<number> {
  // `moe --json inspect …` is as good as `moe inspect … --json`.
  const [first, ...rest] = argv[0] === '--json' ? [...argv.slice(1, 2), '--json', ...argv.slice(2)] : argv;
  const style = json ? PLAIN : styleFor(io, io.outIsTty);
  const help = async (text: string): Promise<number> => {
    await io.out(json ? `${JSON.stringify({ help: text }, null, 2)}\n` : text);
    return 0;
  };
  if (first === undefined) {
    io.err(overview(styleFor(io, io.errIsTty)));
    return 2;
  }
  if (first === '--json') throw usageError('command-missing', 'no command is given', 'moe help');
  if (first === '--version' || first === '-V') {
    await io.out(json ? `${JSON.stringify({ version: VERSION })}\n` : `${VERSION}\n`);
    return 0;
  }
  if (first === '--help' || first === '-h' || first === 'help') {
    const name = rest.find((word) => !word.startsWith('-'));
    const spec = name === undefined ? undefined : findCommand(name).spec;
    return help(spec === undefined ? overview(style) : commandHelp(spec, style));
  }
  const command = findCommand(first);
  const args = parseCommandArgs(command.spec, rest);
  if (args.flag('help')) return help(commandHelp(command.spec, style));
  const context: Context = {
    io,
    args,
    json,
    style,
    log: (line) => {
      io.err(`${line}\n`);
    },
  };
  return command.run(context);
}

function findCommand(name: string): (typeof COMMANDS)[number] {
  const found = COMMANDS.find((command) => command.spec.name === name);
  if (found !== undefined) return found;
  const names = COMMANDS.map((command) => command.spec.name);
  const near = nearestName(name, names);
  throw usageError(
    'unknown-command',
    `${name.startsWith('-') ? 'unknown option' : 'unknown command'} "${name}"${near === undefined ? '' : `; did you mean "${near}"?`}`,
    `commands: ${names.join(', ')}`,
  );
}
