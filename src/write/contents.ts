/**
 * What has to be put down where. Equal expressions are one content with many targets: it is computed, read and hashed once
 * and fanned out. A stacked tensor (experts one after the other) is a sequence of parts, each a content of its own.
 */
import { canonicalJson } from '../common/json.ts';
import type { Expr } from '../plan/expr.ts';
import { bytesOf, inferDtype, inferShape, walkExpr } from '../plan/infer.ts';
import type { SourceLookup } from '../plan/infer.ts';
import { fileHeader } from '../plan/layout.ts';
import type { Plan, PlanFile, PlanTensor } from '../plan/types.ts';

/** A place of a content in an output file; `offset` is absolute. */
export interface Target {
  readonly file: number;
  readonly offset: number;
  readonly tensor: string;
}

export interface Content {
  readonly id: number;
  readonly expr: Expr;
  readonly bytes: number;
  readonly targets: Target[];
}

export interface TensorParts {
  readonly tensor: PlanTensor;
  readonly file: number;
  /** Absolute in the file. */
  readonly offset: number;
  readonly parts: readonly Content[];
}

export interface PlannedFile {
  readonly file: PlanFile;
  /** The 8 length bytes and the padded JSON. */
  readonly header: Buffer;
  readonly bytes: number;
  /** Index of the file that this one can be cloned from; null where it has none. */
  readonly cloneOf: number | null;
  readonly tensors: readonly TensorParts[];
}

export interface PlanContents {
  readonly files: readonly PlannedFile[];
  /** In order of first use. */
  readonly contents: readonly Content[];
}

/** Parts of a tensor that is a concatenation along its first dimension, in order; the expression itself otherwise. */
function partsOf(expr: Expr): readonly Expr[] {
  if (expr.op === 'reshape' && (expr.of.op === 'concat' || expr.of.op === 'reshape')) return partsOf(expr.of);
  if (expr.op === 'concat' && expr.dim === 0) return expr.of.flatMap(partsOf);
  return [expr];
}

/** Names of the tensors of each source that the contents are made from. */
export function sourcesRead(contents: readonly Content[], sources: number): readonly ReadonlySet<string>[] {
  const read = Array.from({ length: sources }, () => new Set<string>());
  for (const { expr } of contents) {
    walkExpr(expr, (node) => {
      if (node.op === 'source') read[node.from]?.add(node.tensor);
    });
  }
  return read;
}

/** Lays all contents of a plan out over its files. */
export function planContents(plan: Plan): PlanContents {
  const tensorsByName = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
  const fileIndex = new Map(plan.files.map((file, index) => [file.name, index]));
  const sources = plan.sources.map((source) => source.tensors);
  const lookup: SourceLookup = (from, name) => {
    const tensor = sources[from]?.get(name);
    if (tensor === undefined) throw new Error(`plan reads unknown source tensor ${name}`);
    return tensor;
  };
  const byObject = new Map<Expr, Content>();
  const byText = new Map<string, Content>();
  const contents: Content[] = [];
  const contentOf = (expr: Expr, bytes: number | undefined): Content => {
    const known = byObject.get(expr);
    if (known !== undefined) return known;
    const text = canonicalJson(expr);
    let content = byText.get(text);
    if (content === undefined) {
      const size = bytes ?? bytesOf(inferDtype(expr, lookup), inferShape(expr, lookup));
      content = { id: contents.length, expr, bytes: size, targets: [] };
      contents.push(content);
      byText.set(text, content);
    }
    byObject.set(expr, content);
    return content;
  };

  const files = plan.files.map((file, index): PlannedFile => {
    const header = fileHeader(file, tensorsByName);
    const dataStart = header.bytes.length;
    const tensors = file.tensors.map((name): TensorParts => {
      const tensor = tensorsByName.get(name);
      const range = header.offsets.get(name);
      if (tensor === undefined || range === undefined) throw new Error(`plan file ${file.name} names unknown ${name}`);
      const exprs = partsOf(tensor.expr);
      const only = exprs.length === 1 ? tensor.bytes : undefined;
      let offset = dataStart + range.begin;
      const parts = exprs.map((expr) => {
        const content = contentOf(expr, only);
        content.targets.push({ file: index, offset, tensor: name });
        offset += content.bytes;
        return content;
      });
      return { tensor, file: index, offset: dataStart + range.begin, parts };
    });
    const leader = file.cloneOf === undefined ? undefined : fileIndex.get(file.cloneOf);
    return {
      file,
      header: header.bytes,
      bytes: dataStart + file.dataBytes,
      cloneOf: leader === undefined || leader === index ? null : leader,
      tensors,
    };
  });
  return { files, contents };
}
