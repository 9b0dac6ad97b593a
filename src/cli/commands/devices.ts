import type { Command } from '../command.ts';
import { emit } from '../output.ts';

export const devices: Command = {
  spec: {
    name: 'devices',
    summary: 'where models can run on this machine, and why not elsewhere',
    usage: [''],
    about: [
      'Each device is loaded and computes something known, in a process of its own. Prints what has to be done for CUDA where it is missing; installs nothing.',
    ],
    options: {},
    positionals: [0, 0],
  },
  async run(context) {
    const { io } = context;
    const { cudaInstallSteps } = await import('../../devices/devices.ts');
    const { probeDevices, runtimeFacts } = await import('../../infer/devices.ts');
    const states = await probeDevices({ entry: io.inferEntry, signal: io.signal });
    const facts = runtimeFacts(io.inferEntry);
    const works = states.some(({ device, available }) => device === 'cuda' && available);
    const steps = works ? [] : cudaInstallSteps(facts, { what: 'Ask again', command: 'moe devices' });
    const { devicesText } = await import('../../report/devices.ts');
    await emit(context, { runtime: facts, devices: states, cudaSteps: steps }, () =>
      devicesText(states, steps, context.style),
    );
    return 0;
  },
};
