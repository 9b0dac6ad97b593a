/** Examples of the filter language, for its help; a test reads each of them with the filter itself. */
import { key } from '../strings.ts';

export const FILTER_HELP: readonly (readonly [string, string])[] = [
  ['q_proj', key('names that hold this text')],
  ['*.mlp.*', key('a glob over the whole name')],
  ['/experts\\.\\d+\\.w3/', key('a regular expression')],
  ['dtype:bf16', key('of this data type')],
  ['layer:0-7', key('in these layers (layer:3 for one)')],
  ['expert:2', key('of this expert')],
  ['role:router', key('by what it is for: router, expert, shared, attention, norm, embed, head …')],
  ['size:>1MB', key('larger than this (also size:1MB-2GB)')],
  ['shape:4096x*', key('with this shape')],
  ['file:00001', key('in the file with this in its name')],
  ['problem:any', key('with a problem')],
  ['layer:3 expert:2 -w1', key('all of these, but not w1')],
];
