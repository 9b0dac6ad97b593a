/** Settings, read in one place. */
import * as vscode from 'vscode';
import { DEVICE_CHOICES, PROVES } from '../protocol/choices.ts';
import type { DeviceChoice, ProveChoice } from '../protocol/choices.ts';

/** Every setting with what holds where it is unset or of a wrong type. package.json says the same. */
export const SETTINGS = {
  'view.histogramBins': 64,
  'view.autoStatistics': true,
  'view.sizeUnits': 'decimal',
  'checkpoints.hubCache': true,
  'checkpoints.hubCachePath': '',
  'problems.show': true,
  'upcycle.verify': true,
  'upcycle.proveLogits': 'auto',
  'upcycle.keepPartial': false,
  'upcycle.openResult': 'resultAndReport',
  device: 'auto',
  'eval.dataPath': '',
  'jobs.concurrency': 1,
  'jobs.keep': 200,
  'jobs.notifyAfterSeconds': 20,
} as const satisfies Readonly<Record<string, string | number | boolean>>;

type Widen<T> = T extends string ? string : T extends number ? number : boolean;

/** A setting's value; one of a wrong type counts as unset. */
export function setting<K extends keyof typeof SETTINGS>(key: K): Widen<(typeof SETTINGS)[K]> {
  const value: unknown = vscode.workspace.getConfiguration('moe').get(key);
  const fallback: unknown = SETTINGS[key];
  return (typeof value === typeof fallback ? value : fallback) as Widen<(typeof SETTINGS)[K]>;
}

/** Where models run. */
export function deviceSetting(): DeviceChoice {
  return DEVICE_CHOICES.find((one) => one === setting('device')) ?? 'auto';
}

/** Whether jobs run both models and compare their logits. */
export function proveSetting(): ProveChoice {
  return PROVES.find((one) => one === setting('upcycle.proveLogits')) ?? 'auto';
}

/** Calls back when any of the settings changes. */
export function onSettings(changed: () => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if (event.affectsConfiguration('moe')) changed();
  });
}
