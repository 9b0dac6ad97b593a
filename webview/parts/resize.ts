/** Watches sizes, a frame later: what is changed inside the observer's own call makes the browser complain of a loop. */
export function onResize(changed: (size: { readonly width: number; readonly height: number }) => void): ResizeObserver {
  let frame = 0;
  return new ResizeObserver(([entry]) => {
    if (entry === undefined) return;
    const { width, height } = entry.contentRect;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      changed({ width, height });
    });
  });
}
