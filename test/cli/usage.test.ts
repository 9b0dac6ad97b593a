import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands/index.ts';
import { VERSION } from '../../src/cli/version.ts';
import { cli, errorOf } from './helpers.ts';

describe('help and version', () => {
  it('lists every command of the contract', async () => {
    const { code, out } = await cli(['help']);
    expect(code).toBe(0);
    for (const name of ['inspect', 'plan', 'upcycle', 'verify', 'revert', 'doctor', 'diff'])
      expect(out).toContain(`  ${name} `);
    expect((await cli(['--help'])).out).toBe(out);
  });

  it.each(COMMANDS.map(({ spec }) => spec.name))('%s has help with usage and all its options', async (name) => {
    const { code, out } = await cli([name, '--help']);
    expect(code).toBe(0);
    expect(out).toContain(`Usage: moe ${name}`);
    const spec = COMMANDS.find((command) => command.spec.name === name)?.spec;
    for (const option of Object.keys(spec?.options ?? {})) expect(out).toContain(`--${option}`);
    expect((await cli(['help', name])).out).toBe(out);
  });

  it('prints the version alone', async () => {
    expect((await cli(['--version'])).out).toBe(`${VERSION}\n`);
  });

  it('without a command shows the help on standard error and exits 2', async () => {
    const { code, out, err } = await cli([]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('Usage: moe COMMAND');
  });
});

describe('under --json', () => {
  it.each([[['help', '--json']], [['help', 'plan', '--json']], [['plan', '--help', '--json']], [['--json', 'help']]])(
    '%j is help as JSON',
    async (argv) => {
      const ran = await cli(argv, { outIsTty: true });
      expect(ran.code).toBe(0);
      expect(ran.json()['help']).toMatch(/Usage: moe/);
      expect(ran.out).not.toContain('\\u001b');
    },
  );

  it('may stand before the command; alone it is a usage error', async () => {
    const ran = await cli(['--json', 'inspect', '/nowhere']);
    expect([ran.code, errorOf(ran)['code']]).toEqual([3, 'not-found']);
    const alone = await cli(['--json']);
    expect([alone.code, errorOf(alone)['code']]).toEqual([2, 'command-missing']);
  });
});

describe('usage errors', () => {
  it.each([
    [['plna', 'x'], 'unknown-command', 'did you mean "plan"?'],
    [['plan', '--recip', 'x'], 'unknown-option', 'did you mean --recipe?'],
    [['plan', '--recipe'], 'bad-option', '--recipe'],
    [['plan', 'a', 'b'], 'too-many-arguments', 'a b'],
    [['inspect'], 'argument-missing', 'PATH'],
    [['inspect', ''], 'argument-empty', 'empty'],
    [['plan'], 'source-missing', 'no source'],
    [['plan', 'x', '--preset', 'vavre'], 'unknown-preset', 'vavre'],
    [['plan', 'x', '--set', 'expert=2'], 'unknown-key', 'did you mean "experts"?'],
    [['plan', 'x', '--set', 'experts'], 'set-without-value', 'key=value'],
    [['upcycle', 'x', 'y', '--plan', 'p.json', '--set', 'experts=2'], 'plan-and-recipe', '--set'],
    [['revert', 'a', 'b', '--parent', 'x'], 'bad-option', '--parent'],
    [['presets', 'nope'], 'unknown-preset', 'nope'],
    [['recipe', 'shwo'], 'unknown-command', 'shwo'],
  ])('%j exits 2 with code %s', async (argv, code, words) => {
    const plain = await cli(argv);
    expect([plain.code, plain.out]).toEqual([2, '']);
    expect(plain.err).toContain(words);
    const json = await cli([...argv, '--json']);
    expect(json.code).toBe(2);
    expect(errorOf(json)['code']).toBe(code);
    expect(errorOf(json)['message']).toContain(words);
  });
});

describe('colours', () => {
  const coloured = (text: string): boolean => text.includes('\u001b[');
  it('only on a terminal, never with NO_COLOR, always with FORCE_COLOR', async () => {
    const argv = ['help'];
    expect(coloured((await cli(argv)).out)).toBe(false);
    expect(coloured((await cli(argv, { outIsTty: true })).out)).toBe(true);
    expect(coloured((await cli(argv, { outIsTty: true, env: { NO_COLOR: '1' } })).out)).toBe(false);
    expect(coloured((await cli(argv, { env: { FORCE_COLOR: '1' } })).out)).toBe(true);
    expect(coloured((await cli(argv, { outIsTty: true, env: { TERM: 'dumb' } })).out)).toBe(false);
  });
});
