/** Serves the question where models can run. Nothing is installed. */
import { cudaInstallSteps, DEVICES } from '../devices/devices.ts';
import type { DeviceState } from '../devices/devices.ts';
import { probeDevice, runtimeFacts } from '../infer/devices.ts';
import { inferEntry } from '../infer/entry.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerDevices } from '../protocol/worker-eval.ts';
import { devicesText } from '../report/devices.ts';
import { PLAIN } from '../report/text.ts';

const AGAIN = { what: 'Ask again: MoE: Set Up GPU…', command: null };

export function serveDevices(endpoint: Endpoint): void {
  endpoint.handle(workerDevices, async (_, { signal, progress }) => {
    const entry = inferEntry();
    const states: DeviceState[] = [];
    for (const [done, device] of DEVICES.entries()) {
      progress({ done, total: DEVICES.length, what: device });
      states.push(await probeDevice(device, { entry, signal }));
    }
    const works = states.some(({ device, available }) => device === 'cuda' && available);
    const steps = works ? [] : cudaInstallSteps(runtimeFacts(entry), AGAIN);
    return {
      devices: states.map((state) => ({ ...state })),
      steps: steps.map((step) => ({ ...step })),
      text: devicesText(states, steps, PLAIN),
    };
  });
}
