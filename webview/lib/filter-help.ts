/** Examples of the filter language, for its help; a test reads each of them with the filter itself. */
export const FILTER_HELP: readonly (readonly [string, string])[] = [
  ['q_proj', 'names that hold this text'],
  ['*.mlp.*', 'a glob over the whole name'],
  ['/experts\\.\\d+\\.w3/', 'a regular expression'],
  ['dtype:bf16', 'of this data type'],
  ['layer:0-7', 'in these layers (layer:3 for one)'],
  ['expert:2', 'of this expert'],
  ['role:router', 'by what it is for: router, expert, shared, attention, norm, embed, head …'],
  ['size:>1MB', 'larger than this (also size:1MB-2GB)'],
  ['shape:4096x*', 'with this shape'],
  ['file:00001', 'in the file with this in its name'],
  ['problem:any', 'with a problem'],
  ['layer:3 expert:2 -w1', 'all of these, but not w1'],
];
