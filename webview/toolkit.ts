/**
 * The one place that imports `@vscode/webview-ui-toolkit` (deprecated since 2025-01, pinned, still installable) and registers
 * its elements. Pages import this file, so that a control can be swapped here without touching them.
 *
 * Used: button, checkbox, text-field, text-area. Not used: its dropdown (its list is cut off by
 * scrolling panes; `moe-select` is a native select), its data-grid (not virtual), its panels (they do not keep a pane's height).
 */
import { release } from './parts/focus-probe.ts';
import {
  provideVSCodeDesignSystem,
  TextArea,
  TextField,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeTextArea,
  vsCodeTextField,
} from '@vscode/webview-ui-toolkit';

release();

/** The toolkit names every field without text in it "Text field", over the name that it was given: that one is put back. */
function keepName(element: { readonly prototype: HTMLElement & { connectedCallback(): void } }): void {
  const { prototype } = element;
  const connected = prototype.connectedCallback;
  prototype.connectedCallback = function (this: HTMLElement): void {
    const name = this.getAttribute('aria-label');
    connected.call(this);
    if (name !== null) this.setAttribute('aria-label', name);
  };
}
keepName(TextArea);
keepName(TextField);

/** Registers the toolkit's elements; call once per page. */
export function registerToolkit(): void {
  provideVSCodeDesignSystem().register(vsCodeButton(), vsCodeCheckbox(), vsCodeTextArea(), vsCodeTextField());
}

/** What is read from a text field or area in an event. */
export function textOf(event: Event): string {
  const { target } = event;
  return target !== null && 'value' in target && typeof target.value === 'string' ? target.value : '';
}

/** What is read from a checkbox in an event. */
export function checkedOf(event: Event): boolean {
  const { target } = event;
  return target !== null && 'checked' in target && target.checked === true;
}
