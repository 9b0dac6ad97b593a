/** The shapes of the protocol that the view models fill. */
import type { Of } from '../protocol/define.ts';
import type { located, locateRequest, rowsRequest } from '../protocol/checkpoint.ts';

export type { GroupRow, Overview, RowView, RowsPage, TensorFacts, TensorRow, TreeRow } from '../protocol/checkpoint.ts';
export type RowsRequest = Of<typeof rowsRequest>;
export type LocateRequest = Of<typeof locateRequest>;
export type Located = Of<typeof located>;
