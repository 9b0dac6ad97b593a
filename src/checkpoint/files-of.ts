/** A weight map that is read off the tensors: for an index that agrees with the headers, which need not stand beside them. */
import type { SourceTensor } from './types.ts';

/** Tensor name → file name, in the order of the tensors. */
export function filesOf(tensors: ReadonlyMap<string, SourceTensor>): ReadonlyMap<string, string> {
  return new FilesOf(tensors);
}

class FilesOf implements ReadonlyMap<string, string> {
  constructor(private readonly tensors: ReadonlyMap<string, SourceTensor>) {}

  get size(): number {
    return this.tensors.size;
  }

  get(name: string): string | undefined {
    return this.tensors.get(name)?.file;
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  forEach(each: (file: string, name: string, map: ReadonlyMap<string, string>) => void): void {
    for (const [name, file] of this) each(file, name, this);
  }

  keys(): MapIterator<string> {
    return this.tensors.keys();
  }

  *values(): MapIterator<string> {
    for (const { file } of this.tensors.values()) yield file;
  }

  *entries(): MapIterator<[string, string]> {
    for (const [name, { file }] of this.tensors) yield [name, file];
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.entries();
  }
}
