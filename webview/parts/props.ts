/** Lit directive: sets CSS properties through the CSSOM. `styleMap` writes a style attribute, which the policy forbids. */
import { nothing } from 'lit';
import { Directive, directive, PartType } from 'lit/directive.js';
import type { ElementPart, PartInfo } from 'lit/directive.js';

class Props extends Directive {
  private old = new Map<string, string>();

  constructor(info: PartInfo) {
    super(info);
    if (info.type !== PartType.ELEMENT) throw new Error('props() stands alone in a tag');
  }

  render(_values: Readonly<Record<string, string>>): typeof nothing {
    return nothing;
  }

  override update(part: ElementPart, [values]: [Readonly<Record<string, string>>]): typeof nothing {
    const { element } = part;
    if (!(element instanceof HTMLElement || element instanceof SVGElement)) return nothing;
    const next = new Map(Object.entries(values));
    for (const name of this.old.keys()) if (!next.has(name)) element.style.removeProperty(name);
    for (const [name, value] of next) if (this.old.get(name) !== value) element.style.setProperty(name, value);
    this.old = next;
    return nothing;
  }
}

/** `<div ${props({ width: '12px' })}>`. */
export const props = directive(Props);
