// What an upcycle computes: both models run, a green check in the plan editor, its numbers kept beside the output.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toPlan } from './20-upcycle.e2e.mjs';
import { accessible, seen } from './pages.mjs';

const prepare = (ws, fixtures) => {
  fixtures.addSample(ws, 'tiny-llama');
};
const run = (plan) => plan.locator('vscode-button').filter({ hasText: /^Run/ });

export const tests = [
  {
    name: 'an exact upcycle ends with a green check of its logits',
    prepare,
    seconds: 240,
    // The plan stays in sight.
    settings: { 'moe.upcycle.openResult': 'never' },
    async run(w) {
      await w.ready('tiny-llama');
      await w.row('tiny-llama').click();
      const plan = await toPlan(w);
      await run(plan).click();
      const check = plan.locator('.logits.ok');
      const text = await w.until(
        'the green check',
        () => seen(check, { timeout: 2000 }),
        (is) => is.includes('compute the same') || is.includes('same logits'),
        { ms: 120_000 },
      );
      const { proof } = JSON.parse(readFileSync(join(w.ws, 'tiny-llama-4x', 'moe-manifest.json'), 'utf8'));
      assert.equal(proof.ok, true);
      assert.ok(proof.relativeNorm <= 1e-5, `relative ${proof.relativeNorm}`);
      assert.ok(text.includes(`${proof.argmaxEqual} of ${proof.positions} positions`), text);
      assert.ok(text.includes(proof.class), text);
      await w.shot('proof');
      await w.zoomed('proof-200');
      await accessible(w, plan, 'planner');
    },
  },
  {
    name: 'never: bytes alone are verified',
    prepare,
    seconds: 240,
    settings: { 'moe.upcycle.openResult': 'never', 'moe.upcycle.proveLogits': 'never' },
    async run(w) {
      await w.ready('tiny-llama');
      await w.row('tiny-llama').click();
      const plan = await toPlan(w);
      await run(plan).click();
      const job = plan.locator('section.job');
      const text = await w.until(
        'the job to be done',
        () => seen(job, { timeout: 2000 }),
        (is) => /: done/.test(is),
        { ms: 120_000 },
      );
      assert.ok(text.includes('verified against the source'), text);
      assert.equal(await plan.locator('.logits').count(), 0);
      const manifest = JSON.parse(readFileSync(join(w.ws, 'tiny-llama-4x', 'moe-manifest.json'), 'utf8'));
      assert.equal(manifest.proof, undefined);
    },
  },
];
