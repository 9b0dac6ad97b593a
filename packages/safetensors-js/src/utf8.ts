/** Start of the first sequence that is not UTF-8 (RFC 3629); the length if all is well. Slow: for error messages. */
export function invalidUtf8At(bytes: Uint8Array): number {
  let p = 0;
  while (p < bytes.length) {
    const lead = bytes[p] as number;
    const extra =
      lead < 0x80
        ? 0
        : lead >= 0xc2 && lead <= 0xdf
          ? 1
          : lead >> 4 === 0xe
            ? 2
            : lead >= 0xf0 && lead <= 0xf4
              ? 3
              : -1;
    if (extra < 0) return p;
    for (let i = 1; i <= extra; i++) {
      const c = bytes[p + i] ?? 0;
      // The second byte is narrowed so that overlong forms, surrogates and code points past U+10FFFF fail.
      const low = i > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
      const high = i > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
      if (c < low || c > high) return p;
    }
    p += extra + 1;
  }
  return p;
}
