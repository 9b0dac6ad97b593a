/** Devices as text: what works, what does not and why, and how to get CUDA. */
import { DEVICE_NAMES } from '../devices/devices.ts';
import type { DeviceState, InstallStep } from '../devices/devices.ts';
import { table } from './text.ts';
import type { Style } from './text.ts';

export function devicesText(states: readonly DeviceState[], cudaSteps: readonly InstallStep[], style: Style): string {
  const rows = states.map(({ device, available, why }) => [
    device,
    DEVICE_NAMES[device],
    available ? 'works' : 'not available',
    why ?? '',
  ]);
  // Commands stay on one line, whatever the width: they are copied.
  const steps = cudaSteps.map(
    ({ what, command }, i) => `${i + 1}. ${what}${command === null ? '' : `:\n   ${command}`}`,
  );
  const install =
    steps.length === 0 ? [] : ['', style.bold('To run on an NVIDIA GPU (nothing is installed unasked):'), ...steps];
  return [
    table([{ title: 'device' }, { title: 'name' }, { title: 'state' }, { title: 'why not' }], rows, style),
    ...install,
    '',
  ].join('\n');
}
