/** The licence and origin that a GGUF carries, as the head of a Hugging Face model card. */
import { Metadata } from './metadata.ts';
import type { GgufHeader } from './types.ts';
import { append } from '../common/lists.ts';

/**
 * README.md with licence, languages and base models from `general.*`, or undefined where the file says none of them.
 * Values are written as JSON strings, which YAML reads as they are.
 * @throws MoeError `gguf-metadata` where one of these keys has the wrong type
 */
export function modelCardFromGguf(header: Pick<GgufHeader, 'path' | 'metadata' | 'metadataTypes'>): string | undefined {
  const general = new Metadata(header, 'general');
  const lines: string[] = [];
  const add = (field: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') lines.push(`${field}: ${JSON.stringify(value)}`);
  };
  add('license', general.text('{arch}.license'));
  add('license_name', general.text('{arch}.license.name'));
  add('license_link', general.text('{arch}.license.link'));
  const languages = general.strings('{arch}.languages') ?? [];
  if (languages.length > 0)
    append(lines, ['language:', ...languages.map((language) => `- ${JSON.stringify(language)}`)]);
  const bases = baseModels(general);
  if (bases.length > 0) append(lines, ['base_model:', ...bases.map((base) => `- ${JSON.stringify(base)}`)]);
  if (lines.length === 0) return undefined;
  const title = general.text('{arch}.name') ?? 'Model';
  return `---\n${lines.join('\n')}\n---\n\n# ${title.replace(/\s+/g, ' ')}\n\nFacts above are those that the GGUF file of the model carried.\n`;
}

/** Hub names of the models that this one was made from, as far as they can be told from their addresses. */
function baseModels(general: Metadata): string[] {
  const count = Math.min(general.integer('{arch}.base_model.count') ?? 0, 100);
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const url = general.text(`{arch}.base_model.${i}.repo_url`) ?? general.text(`{arch}.base_model.${i}.url`);
    const hub = /^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)\/?$/.exec(url ?? '');
    const name = hub?.[1] ?? general.text(`{arch}.base_model.${i}.name`);
    if (name !== undefined) names.push(name);
  }
  return names;
}
