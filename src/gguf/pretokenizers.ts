/**
 * What `tokenizer.ggml.pre` means: how text is cut before byte-pair merges, as a sequence of patterns that each isolate their
 * matches (the rest between matches stays whole). Patterns are those that the models' own tokenizer.json files carry, with
 * case-insensitive groups written out. Names not listed here are refused with a warning, never guessed.
 */

export interface PreTokenizer {
  /** Applied in turn; written for Unicode-aware engines (`\p{L}`, `\p{N}`, `\s`). */
  readonly patterns: readonly string[];
  /** A piece that is a token as it stands is taken whole, without merges. */
  readonly ignoreMerges: boolean;
  /** Whether a beginning-of-text token is added when the file does not say. */
  readonly addBos: boolean;
  /** Unicode is composed (NFC) first: Qwen 2's and 3's own tokenizer does, and transformers 5 does so for its classes whatever the file says. */
  readonly nfc: boolean;
}

const CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const REST = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The pattern that cl100k brought: words with one leading mark, numbers of at most `digits`, marks with their line ends. */
function words(
  digits: string,
  letters = '\\p{L}',
  contraction = `${CONTRACTION}|`,
  marks = '[^\\s\\p{L}\\p{N}]',
): string {
  return `${contraction}[^\\r\\n\\p{L}\\p{N}]?${letters}+|${digits}| ?${marks}+[\\r\\n]*|${REST}`;
}

/** The pattern that o200k brought: words split where lower case turns to upper case. */
function cased(digits: string, suffix: string): string {
  const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
  const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
  const lead = '[^\\r\\n\\p{L}\\p{N}]?';
  return `${lead}${upper}*${lower}+${suffix}|${lead}${upper}+${lower}*${suffix}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${REST}`;
}

function pre(patterns: readonly string[], rest: Partial<Omit<PreTokenizer, 'patterns'>> = {}): PreTokenizer {
  return { patterns, ignoreMerges: false, addBos: false, nfc: false, ...rest };
}

const LLAMA3 = words('\\p{N}{1,3}');
/** DeepSeek LLM's letters: those that have upper and lower case, spelled out as its tokenizer.json does. */
const DEEPSEEK_LETTERS =
  'A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-' +
  '\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-' +
  '\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf' +
  '\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-' +
  '\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc' +
  '\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115' +
  '\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e' +
  '\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-' +
  '\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a' +
  '\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}' +
  '\u{118a0}-\u{118df}\u{1e900}-\u{1e943}';

const DEEPSEEK3 = [
  '\\p{N}{1,3}',
  '[一-龥぀-ゟ゠-ヿ]+',
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
];

const GROUPS: readonly (readonly [readonly string[], PreTokenizer])[] = [
  [['default'], pre(['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'])],
  [
    ['llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2'],
    pre([LLAMA3], { ignoreMerges: true, addBos: true }),
  ],
  [['dbrx', 'smaug-bpe', 'chatglm-bpe'], pre([LLAMA3])],
  [['glm4', 'glm5'], pre([LLAMA3], { ignoreMerges: true })],
  [
    ['deepseek-r1-qwen', 'kormo', 'f2llmv2', 'megrez', 'stablelm2', 'hunyuan', 'solar-open', 'grok-2'],
    pre([words('\\p{N}')]),
  ],
  [['qwen2'], pre([words('\\p{N}')], { nfc: true })],
  [['qwen35'], pre([words('\\p{N}', '[\\p{L}\\p{M}]', `${CONTRACTION}|`, '[^\\s\\p{L}\\p{M}\\p{N}]')])],
  [
    [
      'gpt-2',
      'phi-2',
      'mpt',
      'olmo',
      'jais',
      'trillion',
      'granite-docling',
      'exaone4',
      'gigachat',
      'a.x-4.0',
      'mellum',
      'modern-bert',
    ],
    pre([GPT2]),
  ],
  [
    ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b', 'mellum2'],
    pre(['\\p{N}', GPT2]),
  ],
  [['falcon'], pre(['[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2, '[0-9][0-9][0-9]'])],
  [
    ['deepseek-llm'],
    pre([
      '[\\r\\n]',
      `\\s?[${DEEPSEEK_LETTERS}]+`,
      '\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+',
      '\\s+$',
      '[一-龥ࠀ-一가-퟿]+',
      '\\p{N}+',
    ]),
  ],
  [['deepseek-coder'], pre(['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+', '\\p{N}'])],
  [['deepseek-v3', 'hunyuan-dense', 'joyai-llm'], pre(DEEPSEEK3)],
  [['tekken'], pre([cased('\\p{N}', '')], { ignoreMerges: true, addBos: true })],
  [['gpt-4o', 'llama4', 'kanana2', 'minimax-m2'], pre([cased('\\p{N}{1,3}', `${CONTRACTION}?`)])],
  [['seed-coder'], pre([`${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${REST}`])],
];

const BY_NAME: ReadonlyMap<string, PreTokenizer> = new Map(
  GROUPS.flatMap(([names, entry]) => names.map((name) => [name, entry] as const)),
);

/** The meaning of a `tokenizer.ggml.pre` name, or undefined for an unknown one. */
export function findPreTokenizer(name: string): PreTokenizer | undefined {
  return BY_NAME.get(name);
}

/** All names known. */
export const PRE_TOKENIZER_NAMES: readonly string[] = [...BY_NAME.keys()];
