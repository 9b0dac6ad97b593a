/** Choices that settings and jobs share, without the schemas that check them: activation reads settings. */

export { DEVICE_CHOICES } from '../common/device-names.ts';
export type { DeviceChoice } from '../common/device-names.ts';

/** Whether a job runs both models and compares their logits. */
export const PROVES = ['auto', 'always', 'never'] as const;
export type ProveChoice = (typeof PROVES)[number];
