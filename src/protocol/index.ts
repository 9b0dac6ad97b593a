/** The protocol: definitions, errors, shared schemas. Endpoints are in host.ts and page.ts, messages in one file per audience. */
export { DEFAULT_TIMEOUT_MS, defineNotification, defineRequest } from './define.ts';
export type { Frozen, NotificationDef, Of, ParamsOf, RequestDef, ResultOf } from './define.ts';
export { errorPageOf, fromWireError, toWireError } from './errors.ts';
export type { WireError } from './errors.ts';
export { fromMeasured, toMeasured } from './wire.ts';
export type { ErrorPage, Fact, Measured, StepProgress, WireProblem } from './wire.ts';
