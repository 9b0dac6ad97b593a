/**
 * The health of a checkpoint: all that opening and inspecting find, and a look at every value. Unhealthy means that a loader
 * would fail, or load something that is not the model.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from '../checkpoint/open.ts';
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, Problem, SourceTensor } from '../checkpoint/types.ts';
import { grouped } from '../common/errors.ts';
import { inspectCheckpoint, isBuffer, parseTensorName } from '../inspect/index.ts';
import type { InspectReport } from '../inspect/index.ts';
import { duplicateExperts } from './duplicates.ts';
import { compareHead } from './head.ts';
import { isScanned, newFindings, scannerOf } from './scan-values.ts';
import type { ValueFindings } from './scan-values.ts';
import { counted } from '../common/words.ts';
import { append } from '../common/lists.ts';

export interface DoctorProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly tensor: string;
}

export interface DoctorOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DoctorProgress) => void) | undefined;
}

export interface DoctorReport {
  /** False where any problem is an error. */
  readonly healthy: boolean;
  readonly problems: readonly Problem[];
  /** What was looked at: values count elements (of quantised types all that their blocks stand for). */
  readonly checked: { readonly tensors: number; readonly bytes: number; readonly values: number };
  readonly inspect: InspectReport;
}

/** Tensors with bad values that get a problem of their own; the rest is counted. */
const MAX_REPORTED = 100;

/**
 * Examines a checkpoint. A file that the reference reader refuses is a problem, not an error; throws MoeError `input` only
 * where there is nothing to examine, `cancelled` on abort.
 */
export async function doctor(path: string, options: DoctorOptions = {}): Promise<DoctorReport> {
  const cp = await openCheckpoint(path, { signal: options.signal, lenient: true });
  const report = await inspectCheckpoint(cp);
  const problems = [...report.problems];
  if (cp.planOnly) {
    problems.push({
      severity: 'error',
      code: 'no-weights',
      message: 'There are no weights to examine',
      hint: 'Fetch the weight files.',
    });
  }
  const reader = new RangeReader(cp, { signal: options.signal });
  try {
    const scan = await scanValues(cp, reader, options.onProgress);
    append(problems, scan.problems);
    if (!cp.planOnly) append(problems, await duplicateExperts(cp, reader, await isUpcycled(cp)));
    append(problems, await compareHead(cp, report, reader));
    const healthy = !problems.some((problem) => problem.severity === 'error');
    return { healthy, problems, checked: scan.checked, inspect: report };
  } finally {
    await reader.close();
  }
}

/** Does the output carry the manifest that an upcycle writes? */
async function isUpcycled(cp: Checkpoint): Promise<boolean> {
  return stat(join(cp.root, 'moe-manifest.json')).then(
    (facts) => facts.isFile(),
    () => false,
  );
}

interface Scan {
  readonly problems: readonly Problem[];
  readonly checked: DoctorReport['checked'];
}

async function scanValues(cp: Checkpoint, reader: RangeReader, onProgress: DoctorOptions['onProgress']): Promise<Scan> {
  const tensors = readable(cp);
  const bytesTotal = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const problems: Problem[] = [];
  const zeros: string[] = [];
  const unscanned: string[] = [];
  let bad = 0;
  let bytes = 0;
  let values = 0;
  for (const tensor of tensors) {
    const found = await scanTensor(tensor, reader, (read) => {
      bytes += read;
      onProgress?.({ bytesDone: bytes, bytesTotal, tensor: tensor.name });
    });
    const elements = tensor.shape.reduce((a, b) => a * b, 1);
    values += elements;
    if (!isScanned(tensor.dtype)) unscanned.push(tensor.name);
    if (found.first >= 0) {
      bad++;
      if (bad <= MAX_REPORTED) problems.push(badValues(tensor, found));
    } else if (found.zero && elements > 1 && isMatrixOfWeights(tensor)) zeros.push(tensor.name);
  }
  if (bad > MAX_REPORTED) {
    problems.push({
      severity: 'error',
      code: 'values-not-finite',
      message: `${grouped(bad - MAX_REPORTED)} more tensors have values that are not finite`,
    });
  }
  if (zeros.length > 0) {
    problems.push({
      severity: 'info',
      code: 'all-zero',
      tensor: zeros[0] ?? '',
      message: `${counted(zeros.length, 'weight is', 'weights are')} all zeros, first ${zeros[0] ?? ''}: meant for silent experts and zero routers, otherwise a sign of an unfinished write`,
      details: { tensors: zeros.slice(0, 1000), count: zeros.length },
    });
  }
  if (unscanned.length > 0) {
    problems.push({
      severity: 'info',
      code: 'values-not-checked',
      tensor: unscanned[0] ?? '',
      message: `${counted(unscanned.length, 'tensor is of a quantised type', 'tensors are of quantised types')} whose values are not checked`,
    });
  }
  return { problems, checked: { tensors: tensors.length, bytes, values } };
}

/** Tensors (and pieces of DCP shards) with data on disk, in the order of the files, so that disks are read forwards. */
function readable(cp: Checkpoint): SourceTensor[] {
  if (cp.planOnly) return [];
  const tensors = [...cp.tensors.values()];
  for (const [name, pieces] of cp.pieces ?? []) for (const piece of pieces) tensors.push({ ...piece, name });
  return tensors;
}

async function scanTensor(
  tensor: SourceTensor,
  reader: RangeReader,
  onBytes: (bytes: number) => void,
): Promise<ValueFindings> {
  const { scan, unit } = scannerOf(tensor.dtype);
  const found = newFindings();
  let index = 0;
  // Chunks hold whole elements and start at multiples of 8 bytes, which every view needs.
  const step = unit <= 8 ? 8 : unit;
  for await (const chunk of reader.chunks(tensor.file, tensor.begin, tensor.bytes, step)) {
    scan(chunk, index, found);
    index += chunk.length / unit;
    onBytes(chunk.length);
  }
  return found;
}

function badValues(tensor: SourceTensor, { nan, infinite, first }: ValueFindings): Problem {
  const { unit } = scannerOf(tensor.dtype);
  const parts = [nan > 0 ? `${grouped(nan)} NaN` : '', infinite > 0 ? `${grouped(infinite)} infinite` : ''];
  const what = parts.filter((part) => part !== '').join(' and ');
  const where = unit > 8 ? `block ${grouped(first)}` : `index [${indexOf(first, tensor).join(', ')}]`;
  // Masks are meant to hold −∞.
  const meant = nan === 0 && isBuffer(tensor.name, tensor.shape);
  return {
    severity: meant ? 'info' : 'error',
    code: 'values-not-finite',
    file: tensor.file,
    tensor: tensor.name,
    byte: tensor.begin + first * unit,
    message: `${tensor.name} has ${what} ${nan + infinite === 1 ? 'value' : 'values'}, the first at ${where}`,
    ...(meant
      ? {}
      : { hint: 'Training diverged or the file is damaged: use an earlier checkpoint or fetch the file again.' }),
    details: { nan, infinite, first },
  };
}

/** Index per dimension of element `n`. */
function indexOf(n: number, { shape, dtype }: SourceTensor): number[] {
  // A complex number is two words.
  let rest = dtype === 'C64' ? Math.floor(n / 2) : n;
  const index: number[] = [];
  for (let d = shape.length - 1; d >= 0; d--) {
    const size = shape[d] ?? 1;
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return index;
}

/** Matrices that nobody fills with zeros on purpose without saying so; biases and norms are left alone. */
function isMatrixOfWeights({ name, shape }: SourceTensor): boolean {
  const { suffix, role } = parseTensorName(name);
  return shape.length >= 2 && suffix === 'weight' && role !== 'other';
}
