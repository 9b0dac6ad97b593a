/** Tells when the editor's theme changes, and reads colours from it. VS Code sets variables on <html> and classes on <body>. */
import { parseColour } from '../lib/scale.ts';
import type { Rgb } from '../lib/scale.ts';

const listeners = new Set<() => void>();
let watching = false;

/** Calls back on every change of theme or zoom; gives how to stop. */
export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  if (!watching) {
    watching = true;
    const tell = (): void => {
      for (const each of listeners) each();
    };
    const observer = new MutationObserver(tell);
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ['style', 'class'] });
    observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-vscode-theme-id'] });
    window.addEventListener('resize', tell);
  }
  return () => void listeners.delete(listener);
}

/** A custom property of an element as red, green and blue. `fallback` where the theme has none. */
export function colourOf(element: Element, property: string, fallback: Rgb): Rgb {
  const raw = getComputedStyle(element).getPropertyValue(property).trim();
  if (raw === '') return fallback;
  const direct = parseColour(raw);
  if (direct !== null) return direct;
  // Anything else that CSS knows (names, color-mix): a canvas reads it.
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) return fallback;
  context.fillStyle = raw;
  return parseColour(context.fillStyle) ?? fallback;
}

export function cssOf([r, g, b]: Rgb): string {
  return `rgb(${String(r)} ${String(g)} ${String(b)})`;
}

export function isHighContrast(): boolean {
  return (
    document.body.classList.contains('vscode-high-contrast') ||
    document.body.classList.contains('vscode-high-contrast-light')
  );
}
