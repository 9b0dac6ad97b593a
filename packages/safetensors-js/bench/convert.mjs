// Speed of the conversions, in million elements per second of CPU. Usage: npm run build && node bench/convert.mjs
import { fromFloat32, toFloat32 } from '../dist/index.js';

const N = 16_000_000;
const values = new Float32Array(N);
for (let i = 0; i < N; i++) values[i] = (((i * 2654435761) >>> 0) / 2 ** 32 - 0.5) * 2 ** ((i % 24) - 12);

function rate(action) {
  let best = 0;
  for (let run = 0; run < 5; run++) {
    const before = process.cpuUsage();
    action();
    const { user, system } = process.cpuUsage(before);
    best = Math.max(best, N / (user + system));
  }
  return best.toFixed(0).padStart(6);
}

console.log('dtype          → f32    from f32   (M elements per CPU second)');
for (const dtype of ['F32', 'F64', 'BF16', 'F16', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ']) {
  const bytes = fromFloat32(dtype, values);
  const f32 = new Float32Array(N);
  const out = new Uint8Array(bytes.length);
  console.log(
    `${dtype.padEnd(12)} ${rate(() => toFloat32(dtype, bytes, f32))}   ${rate(() => fromFloat32(dtype, values, out))}`,
  );
}
