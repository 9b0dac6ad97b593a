/** Verification of an output against its manifest and, where it is at hand, its source. */
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { canonicalJson } from '../common/json.ts';
import { Evaluator, ResolvedLog, SourceSet, throwIfCancelled } from '../evaluate/index.ts';
import { checkGates } from './gates.ts';
import type { GateRunner } from '../gates/types.ts';
import { planContents, sourcesRead } from '../write/contents.ts';
import { configDifference } from '../plan/replay.ts';
import { CONFIG_NAME, MANIFEST_NAME } from '../write/documents.ts';
import { readManifest } from '../write/manifest.ts';
import type { Manifest } from '../write/manifest.ts';
import { checkSources } from '../write/preconditions.ts';
import { Progress } from '../write/progress.ts';
import type { ProgressListener } from '../write/progress.ts';
import { TOOL_VERSION } from '../write/version.ts';
import { claimAgainstSource, claimLimits } from './claims.ts';
import { checkDocuments, checkHeaders, checkPresence } from './files.ts';
import { Findings } from './problems.ts';
import type { VerifyCheck, VerifyProblem } from './problems.ts';
import { compareWithDigests, compareWithSource } from './tensors.ts';
import type { TensorCheck } from './tensors.ts';

export interface VerifyOptions {
  /** The checkpoints of the plan, base first; without them digests alone are checked. */
  readonly sources?: readonly Checkpoint[] | undefined;
  /** Runs the base model again where router rows came from prompts; without it they are taken from the record. */
  readonly gates?: GateRunner | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** How many problems are named (all are counted). */
  readonly maxProblems?: number;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly out: string;
  readonly planHash: string | null;
  readonly againstSource: boolean;
  readonly checks: readonly VerifyCheck[];
  readonly problems: readonly VerifyProblem[];
  readonly problemCount: number;
  readonly proven: readonly string[];
  readonly notProven: readonly string[];
  readonly seconds: number;
}

/**
 * Verifies the output folder `out`. Damage is reported, not thrown; thrown are MoeErrors for a folder that is no output of
 * this tool (`manifest-missing`), for sources that are not the plan's (`source-mismatch`) and for cancellation.
 */
export async function verifyOutput(out: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const start = performance.now();
  const folder = resolve(out);
  const findings = new Findings(options.maxProblems ?? 20);
  const finish = (manifest: Manifest | null): VerifyReport => ({
    ok: findings.checks.every(({ ok }) => ok) && findings.count === 0,
    out: folder,
    planHash: manifest?.planHash ?? null,
    againstSource: options.sources !== undefined,
    checks: findings.checks,
    problems: findings.problems,
    problemCount: findings.count,
    proven: findings.proven,
    notProven: findings.notProven,
    seconds: (performance.now() - start) / 1000,
  });

  let manifest: Manifest;
  try {
    checkIsFolder(folder, out);
    manifest = readManifest(join(folder, MANIFEST_NAME));
  } catch (error) {
    if (!(error instanceof MoeError) || error.kind !== 'check') throw error;
    findings.problem({ code: error.code, message: error.message, file: MANIFEST_NAME });
    findings.check('manifest', false, error.message);
    findings.notProven.push('Everything: without its manifest an output cannot be judged.');
    return finish(null);
  }
  findings.check(
    'manifest',
    true,
    `its own digest is right; plan ${manifest.planHash.slice(0, 12)}…, version ${manifest.toolVersion}`,
  );
  if (options.sources !== undefined) checkSources(manifest.plan, options.sources);

  const layout = planContents(manifest.plan);
  const usable = checkPresence(folder, manifest, layout, findings);
  checkHeaders(folder, layout, usable, findings);
  await checkDocuments(folder, manifest, options.sources, findings, options.signal);

  const bytes = layout.files.reduce(
    (sum, file, index) => sum + (usable.has(index) ? file.bytes - file.header.length : 0),
    0,
  );
  const progress = new Progress('verify', bytes, manifest.plan.tensors.length, options.onProgress);
  const check: TensorCheck = { out: folder, manifest, layout, usable, findings, progress, signal: options.signal };
  if (options.sources === undefined) {
    if (await compareWithDigests(check)) {
      findings.proven.push(
        `Every tensor has the sha256 that was recorded when it was written (${grouped(bytes)} bytes).`,
      );
    }
    findings.notProven.push('That the recorded values are those of the source: give the source to prove it.');
  } else {
    await againstSource(check, options.sources, options.gates);
  }
  progress.flush();
  if (findings.checks.every(({ ok }) => ok)) {
    findings.proven.unshift(
      'All headers, config and index are byte for byte those of the plan; all files are there, none too many.',
    );
  }
  claimLimits(manifest, findings);
  return finish(manifest);
}

function checkIsFolder(folder: string, shown: string): void {
  let isFolder = false;
  try {
    isFolder = statSync(folder).isDirectory();
  } catch {
    throw new MoeError('input', 'not-found', `"${shown}" does not exist.`, { file: shown });
  }
  if (!isFolder) {
    throw new MoeError('input', 'output-not-a-folder', `"${shown}" is not a folder; name the output folder.`, {
      file: shown,
    });
  }
}

async function againstSource(
  check: TensorCheck,
  checkpoints: readonly Checkpoint[],
  runner: GateRunner | undefined,
): Promise<void> {
  const { manifest, layout, findings, signal } = check;
  const sources = new SourceSet(checkpoints);
  try {
    // Statistics are computed again, not taken from the manifest.
    // Router rows from prompts are the exception: another machine's last bits differ, so bytes are compared with the record.
    const { gates } = manifest.resolved;
    const known = new ResolvedLog({ redraw: {}, normShard: {}, svd: {}, gates });
    const evaluator = new Evaluator(checkpoints, manifest.plan.recipe.seed, known, sources);
    const equal = await compareWithSource(check, evaluator);
    if (equal) claimAgainstSource(evaluator, layout, findings);
    await checkSourceDigests(check, sources);
    checkSourceConfig(manifest, checkpoints, findings);
    const resolvedEqual = canonicalJson(evaluator.resolved.toJSON()) === canonicalJson(manifest.resolved);
    if (!resolvedEqual) {
      findings.problem({
        code: 'resolved-differs',
        message: 'Statistics that depend on the data (drop, norm split, svd) come out otherwise than recorded.',
        file: MANIFEST_NAME,
      });
    }
    findings.check('statistics', resolvedEqual, 'what was drawn from the data equals the record');
    await checkGates(manifest, checkpoints, runner, findings, signal);
    sources.checkUnchanged();
  } finally {
    sources.close();
  }
  throwIfCancelled(signal);
}

/** The same weights under another config (another rope base, say) are another model. */
function checkSourceConfig(manifest: Manifest, checkpoints: readonly Checkpoint[], findings: Findings): void {
  const name = 'source config';
  let difference: ReturnType<typeof configDifference>;
  try {
    difference = configDifference(manifest.plan, checkpoints);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    if (manifest.toolVersion !== TOOL_VERSION) {
      findings.check(name, true, `not compared: version ${manifest.toolVersion} made the output`);
      findings.notProven.push(`That the source’s config is the one that was read at the time: ${error.message}`);
      return;
    }
    findings.problem({
      code: 'source-config-changed',
      message: `The source cannot be planned any more: ${error.message}`,
      file: CONFIG_NAME,
    });
    findings.check(name, false, error.message);
    return;
  }
  if (difference === null) {
    findings.check(name, true, 'the source’s config still gives the config of the output');
    return;
  }
  const { field, planned = 'absent', now = 'absent' } = difference;
  const what = `${field} is ${planned} in the output and would be ${now} by the source’s config as it is now`;
  // Another version may write other fields: that is no fault of the source.
  if (manifest.toolVersion !== TOOL_VERSION) {
    findings.check(name, true, `not compared: version ${manifest.toolVersion} made the output`);
    findings.notProven.push(`That the source’s config is the one that was read at the time: ${what}.`);
    return;
  }
  findings.problem({
    code: 'source-config-changed',
    message: `The source’s config was changed since: ${what}.`,
    file: CONFIG_NAME,
  });
  findings.check(name, false, what);
}

async function checkSourceDigests(
  { manifest, layout, findings, signal }: TensorCheck,
  sources: SourceSet,
): Promise<void> {
  let changed = 0;
  let compared = 0;
  const read = sourcesRead(layout.contents, manifest.sources.length);
  for (const [from, source] of manifest.sources.entries()) {
    const recorded = new Map(Object.entries(source.tensors));
    for (const name of read[from] ?? []) {
      compared += 1;
      if ((await sources.digest(from, name, signal)) === recorded.get(name)) continue;
      changed += 1;
      findings.problem({
        code: 'source-changed',
        message: `The source tensor "${name}" is not the one that was read when the output was written.`,
        tensor: name,
      });
    }
  }
  findings.check('source', changed === 0, `${grouped(compared)} source tensors compared with their recorded digests`);
  if (changed === 0)
    findings.proven.push(
      `What the plan takes from the source is what was read at the time: ${grouped(compared)} digests agree.`,
    );
}
