import type { RowReader } from '../data/rows.ts';
import { pyStrip, pyWordCount, utf8Length } from '../python/text.ts';
import type { PageParts, RollingTask } from './types.ts';

/**
 * The harness's `wikitext_detokenizer`. Its pair patterns (`\(\s*([^\)]*?)\s*\)` and the like) are done by hand in linear time:
 * as regular expressions they take quadratic time on a text with many unmatched openings. Its rule `/' [0-9]/` has literal
 * slashes; it turns "/' 5/" into "/'[0-9]/", which is kept.
 */
export function wikitextDetokenize(page: string): string {
  let s = page.replaceAll("s '", "s'").replace(/\/' [0-9]\//g, "/'[0-9]/");
  s = s.replaceAll(' @-@ ', '-').replaceAll(' @,@ ', ',').replaceAll(' @.@ ', '.');
  for (const mark of [':', ';', '.', '!', '?', ',']) s = s.replaceAll(` ${mark} `, `${mark} `);
  for (const [open, close] of ['()', '[]', '{}', '""', "''"]) s = trimPairs(s, open ?? '', close ?? '');
  return s
    .replaceAll('= = = =', '====')
    .replaceAll('= = =', '===')
    .replaceAll('= =', '==')
    .replaceAll(' \u00b0 ', '\u00b0')
    .replaceAll(' \n', '\n')
    .replaceAll('\n ', '\n')
    .replaceAll(' N ', ' 1 ')
    .replaceAll(" 's", "'s");
}

function trimPairs(s: string, open: string, close: string): string {
  let out = '';
  let at = 0;
  for (;;) {
    const start = s.indexOf(open, at);
    const end = start < 0 ? -1 : s.indexOf(close, start + 1);
    if (end < 0) return out + s.slice(at);
    out += s.slice(at, start) + open + pyStrip(s.slice(start + 1, end)) + close;
    at = end + 1;
  }
}

function page(row: RowReader): string {
  if (!row.has('page') && row.has('text')) return row.string('text');
  return row.string('page');
}

function pageParts(row: RowReader, detokenize: (text: string) => string): PageParts {
  const original = page(row);
  // Words and bytes are those of the original page, tokens those of the detokenised one (reference section 3.4).
  return { doc: row.row, text: detokenize(original), words: pyWordCount(original), bytes: utf8Length(original) };
}

const METRICS = ['word_perplexity', 'byte_perplexity', 'bits_per_byte'] as const;

export const ROLLING_TASKS: readonly RollingTask[] = [
  {
    name: 'wikitext',
    alias: 'wikitext',
    version: 2,
    outputType: 'loglikelihood_rolling',
    metrics: METRICS,
    dataset: { stems: ['wikitext'], hubId: 'EleutherAI/wikitext_document_level', hubConfig: 'wikitext-2-raw-v1' },
    evalSplit: 'test',
    help: 'Perplexity of Wikipedia pages, detokenised as in the harness, in windows of the model length.',
    read: (row) => pageParts(row, wikitextDetokenize),
  },
  {
    name: 'perplexity',
    alias: 'perplexity',
    version: 1,
    outputType: 'loglikelihood_rolling',
    metrics: METRICS,
    dataset: { stems: ['perplexity'], hubId: 'local/text', hubConfig: null },
    evalSplit: 'test',
    help: 'Perplexity of any text (a txt file, or records with a field "page" or "text"), as it stands.',
    read: (row) => pageParts(row, (text) => text),
  },
];
