/**
 * The ggml tensor types: id, name, and how many elements a block of how many bytes holds.
 * `decoded` says whether this project turns the type into float32; the others are known by name so that files that hold
 * them can be listed and the refusal names them.
 */

export interface GgmlType {
  readonly id: number;
  readonly name: string;
  /** Elements per block; a row's length is a multiple of it. */
  readonly blockElements: number;
  /** Bytes per block. */
  readonly blockBytes: number;
  /** Whether `dequantise` makes float32 of it. */
  readonly decoded: boolean;
  /** Whether it stores fewer bits than it was trained with (not F32, F16, BF16, F64 or an integer). */
  readonly quantised: boolean;
}

const PLAIN = new Set(['F32', 'F16', 'BF16', 'F64', 'I8', 'I16', 'I32', 'I64']);
const DECODED = new Set([
  'F32',
  'F16',
  'BF16',
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q2_K',
  'Q3_K',
  'Q4_K',
  'Q5_K',
  'Q6_K',
]);

// id, name, elements per block, bytes per block: as the gguf package's GGML_QUANT_SIZES (0.19).
const ROWS: readonly (readonly [number, string, number, number])[] = [
  [0, 'F32', 1, 4],
  [1, 'F16', 1, 2],
  [2, 'Q4_0', 32, 18],
  [3, 'Q4_1', 32, 20],
  [6, 'Q5_0', 32, 22],
  [7, 'Q5_1', 32, 24],
  [8, 'Q8_0', 32, 34],
  [9, 'Q8_1', 32, 40],
  [10, 'Q2_K', 256, 84],
  [11, 'Q3_K', 256, 110],
  [12, 'Q4_K', 256, 144],
  [13, 'Q5_K', 256, 176],
  [14, 'Q6_K', 256, 210],
  [15, 'Q8_K', 256, 292],
  [16, 'IQ2_XXS', 256, 66],
  [17, 'IQ2_XS', 256, 74],
  [18, 'IQ3_XXS', 256, 98],
  [19, 'IQ1_S', 256, 50],
  [20, 'IQ4_NL', 32, 18],
  [21, 'IQ3_S', 256, 110],
  [22, 'IQ2_S', 256, 82],
  [23, 'IQ4_XS', 256, 136],
  [24, 'I8', 1, 1],
  [25, 'I16', 1, 2],
  [26, 'I32', 1, 4],
  [27, 'I64', 1, 8],
  [28, 'F64', 1, 8],
  [29, 'IQ1_M', 256, 56],
  [30, 'BF16', 1, 2],
  [34, 'TQ1_0', 256, 54],
  [35, 'TQ2_0', 256, 66],
  [39, 'MXFP4', 32, 17],
  [40, 'NVFP4', 64, 36],
  [41, 'Q1_0', 128, 18],
];

export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map(
  ROWS.map(([id, name, blockElements, blockBytes]) => [
    id,
    { id, name, blockElements, blockBytes, decoded: DECODED.has(name), quantised: !PLAIN.has(name) },
  ]),
);

/** Ids that once had a meaning and were removed from ggml, with what to say about them. */
export const REMOVED_GGML_TYPES: ReadonlyMap<number, string> = new Map([
  [4, 'Q4_2 (removed from ggml in 2023)'],
  [5, 'Q4_3 (removed from ggml in 2023)'],
  [31, 'Q4_0_4_4 (repacked for one CPU kind, removed from ggml in 2024)'],
  [32, 'Q4_0_4_8 (repacked for one CPU kind, removed from ggml in 2024)'],
  [33, 'Q4_0_8_8 (repacked for one CPU kind, removed from ggml in 2024)'],
  [36, 'IQ4_NL_4_4 (repacked for one CPU kind, removed from ggml in 2024)'],
  [37, 'IQ4_NL_4_8 (repacked for one CPU kind, removed from ggml in 2024)'],
  [38, 'IQ4_NL_8_8 (repacked for one CPU kind, removed from ggml in 2024)'],
]);

/** The type of that name (`Q4_K`), or undefined. */
export function ggmlTypeByName(name: string): GgmlType | undefined {
  for (const type of GGML_TYPES.values()) if (type.name === name) return type;
  return undefined;
}
