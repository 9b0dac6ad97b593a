/**
 * The normal quantile function from additions, multiplications, divisions and square roots alone. IEEE 754 fixes those to
 * the bit, while Math.log, Math.cos and Math.exp differ between JavaScript engines.
 */

const words = new Uint32Array(2);
const double = new Float64Array(words.buffer);
// Which half of a double holds its exponent, on this machine.
double[0] = 1;
const HIGH = words[1] === 0 ? 0 : 1;

const TWO_32 = 4294967296;
const TWO_NEG_52 = 2.220446049250313e-16;
const LN2_HIGH = 6.9314718036912381649e-1;
const LN2_LOW = 1.90821492927058770002e-10;
const SQRT_HALF = 0.7071067811865476;

/**
 * Natural logarithm of a positive normal double, error below 1 unit in the last place: fdlibm's method, log(1+f) through
 * s = f/(2+f) and an odd polynomial in s.
 */
export function naturalLog(x: number): number {
  double[0] = x;
  const high = words[HIGH] ?? 0;
  let exponent = (high >>> 20) - 1023;
  // Exact; writing the word back and reading the double would stall the processor.
  let mantissa = 1 + ((high & 0xfffff) * TWO_32 + (words[1 - HIGH] ?? 0)) * TWO_NEG_52;
  // Into [√½, √2), where f is smallest.
  if (mantissa >= 2 * SQRT_HALF) {
    mantissa *= 0.5;
    exponent += 1;
  }
  const f = mantissa - 1;
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const even = w * (3.999999999940941908e-1 + w * (2.222219843214978396e-1 + w * 1.531383769920937332e-1));
  const odd =
    z *
    (6.66666666666673513e-1 +
      w * (2.857142874366239149e-1 + w * (1.818357216161805012e-1 + w * 1.479819860511658591e-1)));
  const halfSquare = 0.5 * f * f;
  return exponent * LN2_HIGH - (halfSquare - (s * (halfSquare + even + odd) + exponent * LN2_LOW) - f);
}

/**
 * The z with P(Z < z) = p for a standard normal Z and 0 < p < 1: Wichura's algorithm AS 241 (PPND16, Applied Statistics
 * 37, 1988), relative error about 1e-16. Odd about p = 1/2 wherever 1 − p is exact.
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  return q >= -0.425 && q <= 0.425 ? central(q) : tailQuantile(p, q);
}

// Small functions, so that the compiler can put the usual case in line.
function central(q: number): number {
  const r = 0.180625 - q * q;
  return (
    (q *
      (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r +
        45921.953931549871457) *
        r +
        13731.693765509461125) *
        r +
        1971.5909503065514427) *
        r +
        133.14166789178437745) *
        r +
        3.387132872796366608)) /
    (((((((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) *
      r +
      5394.1960214247511077) *
      r +
      687.1870074920579083) *
      r +
      42.313330701600911252) *
      r +
      1)
  );
}

function tailQuantile(p: number, q: number): number {
  const tail = Math.sqrt(-naturalLog(q < 0 ? p : 1 - p));
  const z = tail <= 5 ? nearTail(tail - 1.6) : farTail(tail - 5);
  return q < 0 ? -z : z;
}

function nearTail(r: number): number {
  return (
    (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r +
      1.27045825245236838258) *
      r +
      3.64784832476320460504) *
      r +
      5.7694972214606914055) *
      r +
      4.6303378461565452959) *
      r +
      1.42343711074968357734) /
    (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r +
      0.14810397642748007459) *
      r +
      0.68976733498510000455) *
      r +
      1.6763848301838038494) *
      r +
      2.05319162663775882187) *
      r +
      1)
  );
}

function farTail(r: number): number {
  return (
    (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r +
      0.026532189526576123093) *
      r +
      0.29656057182850489123) *
      r +
      1.7848265399172913358) *
      r +
      5.4637849111641143699) *
      r +
      6.6579046435011037772) /
    (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r +
      7.868691311456132591e-4) *
      r +
      0.0148753612908506148525) *
      r +
      0.13692988092273580531) *
      r +
      0.59983220655588793769) *
      r +
      1)
  );
}
