import { append } from '../common/lists.ts';
/**
 * SentencePiece vocabularies (`tokenizer.ggml.model` = llama) as byte-pair merges. SentencePiece merges the pair whose result has
 * the best score; a merge list in order of falling score says the same. Pieces that no merge makes fall back to bytes.
 */

/** A way to make a piece of two pieces: left, right, score of the whole, and lengths for ties. */
interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
  readonly leftLength: number;
  readonly rightLength: number;
}

/** Longest piece, in characters, whose splits are tried: no published vocabulary has longer ones than 128. */
const MAX_PIECE_LENGTH = 512;

/**
 * All merges between pieces, best first: by score, then the longer left part, then the longer right part, then by ids.
 * @param ids piece → id, of the pieces that may take part
 * @param scores score by id
 */
export function mergesFromScores(ids: ReadonlyMap<string, number>, scores: ArrayLike<number>): [string, string][] {
  const merges: Merge[] = [];
  for (const [piece, id] of ids) {
    const characters = Array.from(piece);
    if (characters.length < 2 || characters.length > MAX_PIECE_LENGTH) continue;
    const score = scores[id] ?? 0;
    const ways: (Merge & { leftId: number; rightId: number })[] = [];
    let cut = 0;
    for (let i = 1; i < characters.length; i++) {
      cut += characters[i - 1]?.length ?? 0;
      const left = piece.slice(0, cut);
      const leftId = ids.get(left);
      if (leftId === undefined) continue;
      const right = piece.slice(cut);
      const rightId = ids.get(right);
      if (rightId !== undefined)
        ways.push({ left, right, score, leftLength: i, rightLength: characters.length - i, leftId, rightId });
    }
    ways.sort((a, b) => a.leftId - b.leftId || a.rightId - b.rightId);
    append(merges, ways);
  }
  merges.sort((a, b) => b.score - a.score || b.leftLength - a.leftLength || b.rightLength - a.rightLength);
  return merges.map(({ left, right }) => [left, right]);
}
