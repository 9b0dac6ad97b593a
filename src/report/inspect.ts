/** `inspect` as text. */
import { grouped } from '../common/errors.ts';
import type { InspectReport } from '../inspect/index.ts';
import { problemsText } from './problems.ts';
import { bytesText, countText, fields, plural, rangesText, visible } from './text.ts';
import type { Style } from './text.ts';

const FORMATS = { hf: 'Hugging Face folder', safetensors: 'safetensors file', gguf: 'GGUF' } as const;

/** What the checkpoint is, what it holds, what is wrong with it. */
export function inspectText(path: string, report: InspectReport, style: Style): string {
  const { experts, parameters } = report;
  const dtypes = Object.entries(report.dtypes)
    .map(([dtype, count]) => `${dtype} × ${grouped(count)}`)
    .join(', ');
  const facts = fields([
    ['format', FORMATS[report.format]],
    ['model', `${report.modelType === null ? 'unknown type' : visible(report.modelType)}, ${report.kind}`],
    ['parameters', parameterText(parameters)],
    ['layers', report.layers === null ? null : String(report.layers)],
    ['experts', experts === undefined ? null : expertsText(experts)],
    ['tensors', `${grouped(report.tensorCount)}${dtypes === '' ? '' : ` (${dtypes})`}`],
    ['size', bytesText(report.bytes)],
    ['files', plural(report.shards, 'weight file')],
    ['embeddings', report.tied ? 'tied: one tensor for input and output' : null],
    ['note', report.planOnly ? 'config and index only: can be planned, not written' : null],
  ]);
  return `${style.bold(visible(path))}\n${facts}\n\n${problemsText(report.problems, style)}\n`;
}

function parameterText({ total, active }: InspectReport['parameters']): string {
  if (total === null || active === total) return countText(total);
  return `${countText(total)} total, ${countText(active)} active per token`;
}

function expertsText(experts: NonNullable<InspectReport['experts']>): string {
  const parts = [
    `${experts.perLayer} per layer in ${plural(experts.layers, 'layer')} (${rangesText(experts.layerIndices)})`,
    experts.topK === null ? 'top-k unknown' : `top-${experts.topK}`,
    experts.width === null ? null : `width ${grouped(experts.width)}`,
    experts.shared === 0
      ? null
      : `${plural(experts.shared, 'shared expert')}${experts.sharedWidth === null ? '' : ` of width ${grouped(experts.sharedWidth)}`}`,
    experts.layout === null ? null : `layout ${experts.layout}`,
  ];
  return parts.filter((part) => part !== null).join(', ');
}
