/** Devices as text: what works, what does not and why, and how to get CUDA. */
import { DEVICE_NAMES } from '../devices/devices.ts';
import type { DeviceState } from '../devices/devices.ts';
import { bullets, table } from './text.ts';
import type { Style } from './text.ts';

export function devicesText(states: readonly DeviceState[], cudaSteps: readonly string[], style: Style): string {
  const rows = states.map(({ device, available, why }) => [
    device,
    DEVICE_NAMES[device],
    available ? 'works' : 'not available',
    why ?? '',
  ]);
  const steps =
    cudaSteps.length === 0
      ? []
      : ['', style.bold('To run on an NVIDIA GPU (nothing is installed unasked):'), bullets(cudaSteps)];
  return [
    table([{ title: 'device' }, { title: 'name' }, { title: 'state' }, { title: 'why not' }], rows, style),
    ...steps,
    '',
  ].join('\n');
}
