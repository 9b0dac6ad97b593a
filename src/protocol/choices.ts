/** Choices that settings and jobs share, without the schemas that check them: activation reads settings. */

/** Where models run. */
export const DEVICES = ['auto', 'cpu', 'cuda', 'dml', 'coreml', 'webgpu'] as const;
export type DeviceChoice = (typeof DEVICES)[number];

/** Whether a job runs both models and compares their logits. */
export const PROVES = ['auto', 'always', 'never'] as const;
export type ProveChoice = (typeof PROVES)[number];
