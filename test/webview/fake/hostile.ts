/** Names that would do harm if they were ever markup, order or paths. */
export const HOSTILE = '<img src=x onerror=alert(1)>';
export const HOSTILE_LONG = `model.${'very_'.repeat(60)}long.weight`;
export const HOSTILE_BIDI = 'weight_\u202egnp.exe';
