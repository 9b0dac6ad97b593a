/** A tensor tree of any size for the fake host: nodes are made when they are asked for. */
import type { GroupRow, RowsPage, RowView, TensorRow, TreeRow } from '../../../src/protocol/checkpoint.ts';
import { HOSTILE, HOSTILE_BIDI, HOSTILE_LONG } from './hostile.ts';

interface Leaf {
  readonly kind: 'tensor';
  readonly label: string;
  readonly name: string;
  readonly shape: readonly number[];
  readonly role: string | null;
  readonly layer: number | null;
  readonly expert: number | null;
  readonly dtype: string;
  readonly severity: TreeRow['severity'];
}
interface Branch {
  readonly kind: 'group';
  readonly id: string;
  readonly label: string;
  readonly repeats: number | null;
  readonly tensors: number;
  readonly elements: number;
  readonly children: () => readonly Node[];
}
type Node = Leaf | Branch;

export interface TreeOptions {
  readonly layers: number;
  readonly experts: number;
  readonly hidden: number;
  readonly width: number;
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export class FakeTree {
  readonly tensors: number;
  private readonly roots: readonly Node[];
  private cached: { readonly key: string; readonly rows: readonly Flat[] } | null = null;

  constructor(private readonly options: TreeOptions) {
    const { layers, hidden, experts } = options;
    const perLayer = 6 + (experts === 0 ? 3 : 1 + 3 * experts);
    this.tensors = layers * perLayer + 6;
    this.roots = [
      this.leaf('embed_tokens.weight', 'model.embed_tokens.weight', [49_152, hidden], 'embed', null, null),
      {
        kind: 'group',
        id: 'model.layers',
        label: `layers.0–${String(layers - 1)}`,
        repeats: layers,
        tensors: layers * perLayer,
        elements: layers * this.layerElements(),
        children: () => Array.from({ length: layers }, (_, at) => this.layerNode(at)),
      },
      this.leaf('norm.weight', 'model.norm.weight', [hidden], 'norm', null, null),
      this.leaf(HOSTILE, HOSTILE, [2, 3], null, null, null, 'warning'),
      this.leaf(HOSTILE_LONG, HOSTILE_LONG, [7], null, null, null),
      this.leaf(HOSTILE_BIDI, HOSTILE_BIDI, [], null, null, null),
      this.leaf('lm_head.weight', 'lm_head.weight', [49_152, hidden], 'head', null, null),
    ];
  }

  page(view: RowView, start: number, count: number): RowsPage {
    const rows = this.flat(view);
    const matched = rows.reduce((sum, { node }) => sum + (node.kind === 'tensor' ? 1 : 0), 0);
    const bad = /(layer|expert|size|dtype|shape):\s*$/u.exec(view.filter);
    return {
      start,
      rows: rows.slice(start, start + count).map((row) => this.row(row, view)),
      total: rows.length,
      matched: view.filter === '' || bad !== null ? this.tensors : matched,
      tensors: this.tensors,
      matchedBytes: 1e9,
      filterProblem:
        bad === null
          ? null
          : { message: `'${bad[1] ?? ''}:' needs a value`, from: bad.index, to: bad.index + bad[0].length },
    };
  }

  /** Where a tensor stands, the layers opened. */
  indexOf(view: RowView, tensor: string): { readonly view: RowView; readonly index: number | null } {
    const opened: RowView = { ...view, open: 'all', toggled: [] };
    const index = this.flat(opened).findIndex(({ node }) => node.kind === 'tensor' && node.name === tensor);
    return { view: opened, index: index < 0 ? null : index };
  }

  find(tensor: string): Leaf | null {
    const all: RowView = { filter: '', order: 'name', descending: false, shape: 'flat', toggled: [], open: 'all' };
    for (const { node } of this.flat(all)) if (node.kind === 'tensor' && node.name === tensor) return node;
    return null;
  }

  private layerElements(): number {
    const { hidden, width, experts } = this.options;
    return 4 * hidden * hidden + 2 * hidden + Math.max(1, experts) * 3 * hidden * width + experts * hidden;
  }

  private layerNode(layer: number): Branch {
    const { hidden, width, experts } = this.options;
    const at = `model.layers.${String(layer)}`;
    const perExpert = (expert: number | null, prefix: string): Node[] => [
      this.leaf('gate_proj.weight', `${prefix}.gate_proj.weight`, [width, hidden], 'mlp.gate', layer, expert),
      this.leaf('up_proj.weight', `${prefix}.up_proj.weight`, [width, hidden], 'mlp.up', layer, expert),
      this.leaf('down_proj.weight', `${prefix}.down_proj.weight`, [hidden, width], 'mlp.down', layer, expert),
    ];
    const group = (
      id: string,
      label: string,
      repeats: number | null,
      tensors: number,
      elements: number,
      children: () => Node[],
    ): Branch => ({
      kind: 'group',
      id,
      label,
      repeats,
      tensors,
      elements,
      children,
    });
    return group(at, String(layer), null, 6 + (experts === 0 ? 3 : 1 + 3 * experts), this.layerElements(), () => [
      this.leaf('input_layernorm.weight', `${at}.input_layernorm.weight`, [hidden], 'norm', layer, null),
      group(`${at}.self_attn`, 'self_attn', null, 4, 4 * hidden * hidden, () =>
        ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) =>
          this.leaf(`${name}.weight`, `${at}.self_attn.${name}.weight`, [hidden, hidden], `attn.${name}`, layer, null),
        ),
      ),
      this.leaf(
        'post_attention_layernorm.weight',
        `${at}.post_attention_layernorm.weight`,
        [hidden],
        'norm',
        layer,
        null,
      ),
      group(
        `${at}.mlp`,
        experts === 0 ? 'mlp' : 'mlp (MoE)',
        null,
        experts === 0 ? 3 : 1 + 3 * experts,
        Math.max(1, experts) * 3 * hidden * width,
        () =>
          experts === 0
            ? perExpert(null, `${at}.mlp`)
            : [
                this.leaf(
                  'gate.weight',
                  `${at}.mlp.gate.weight`,
                  [experts, hidden],
                  'router',
                  layer,
                  null,
                  layer === 3 ? 'error' : null,
                ),
                group(
                  `${at}.mlp.experts`,
                  `experts.0–${String(experts - 1)}`,
                  experts,
                  3 * experts,
                  experts * 3 * hidden * width,
                  () =>
                    Array.from({ length: experts }, (_, expert) =>
                      group(`${at}.mlp.experts.${String(expert)}`, String(expert), null, 3, 3 * hidden * width, () =>
                        perExpert(expert, `${at}.mlp.experts.${String(expert)}`),
                      ),
                    ),
                ),
              ],
      ),
    ]);
  }

  private leaf(
    label: string,
    name: string,
    shape: readonly number[],
    role: string | null,
    layer: number | null,
    expert: number | null,
    severity: TreeRow['severity'] = null,
  ): Leaf {
    return {
      kind: 'tensor',
      label,
      name,
      shape,
      role,
      layer,
      expert,
      dtype: role === 'norm' ? 'F32' : 'BF16',
      severity,
    };
  }

  private flat(view: RowView): readonly Flat[] {
    const key = JSON.stringify(view);
    if (this.cached?.key === key) return this.cached.rows;
    const rows: Flat[] = [];
    const toggled = new Set(view.toggled);
    const layer = /layer:(\d+)/u.exec(view.filter)?.[1];
    const expert = /expert:(\d+)/u.exec(view.filter)?.[1];
    const text = view.filter.replaceAll(/\S+:\S*/gu, '').trim();
    const filtering = layer !== undefined || expert !== undefined || text !== '';
    const matches = (leaf: Leaf): boolean =>
      (layer === undefined || leaf.layer === Number(layer)) &&
      (expert === undefined || leaf.expert === Number(expert)) &&
      leaf.name.includes(text);
    const walk = (nodes: readonly Node[], level: number, into: Flat[]): void => {
      const kept = nodes.flatMap((node): { node: Node; below: Flat[] | null }[] => {
        if (node.kind === 'tensor') return !filtering || matches(node) ? [{ node, below: null }] : [];
        const standard = filtering || view.open === 'all';
        const open = view.shape === 'flat' || (toggled.has(node.id) ? !standard : standard);
        if (!open) return [{ node, below: null }];
        const below: Flat[] = [];
        walk(node.children(), view.shape === 'flat' ? level : level + 1, below);
        return filtering && below.length === 0 ? [] : [{ node, below }];
      });
      for (const [at, { node, below }] of kept.entries()) {
        if (node.kind === 'tensor' || view.shape === 'tree')
          into.push({ node, level, position: at + 1, siblings: kept.length, expanded: below !== null });
        if (below !== null) for (const row of below) into.push(row);
      }
    };
    walk(this.roots, 1, rows);
    if (view.shape === 'flat' && view.order === 'size')
      rows.sort((a, b) => (elementsOf(a.node) - elementsOf(b.node)) * (view.descending ? -1 : 1));
    this.cached = { key, rows };
    return rows;
  }

  private row({ node, level, position, siblings, expanded }: Flat, view: RowView): TreeRow {
    const text = view.filter.replaceAll(/\S+:\S*/gu, '').trim();
    const from = text === '' ? -1 : node.label.indexOf(text);
    const common = {
      level,
      position,
      siblings,
      label: node.label,
      hits: from < 0 ? [] : [[from, from + text.length] as const],
      elements: elementsOf(node),
      bytes: elementsOf(node) * 2,
      severity: node.kind === 'tensor' ? node.severity : null,
    };
    if (node.kind === 'group') {
      const row: GroupRow = {
        ...common,
        kind: 'group',
        id: node.id,
        expanded,
        tensors: node.tensors,
        dtypes: ['BF16'],
        shape: null,
        repeats: node.repeats,
        role: null,
      };
      return row;
    }
    const row: TensorRow = {
      ...common,
      kind: 'tensor',
      id: `tensor:${node.name}`,
      name: node.name,
      dtype: node.dtype,
      shape: node.shape,
      file: `model-0000${String(((node.layer ?? 0) % 4) + 1)}-of-00004.safetensors`,
      role: node.role,
      layer: node.layer,
      expert: node.expert,
    };
    return row;
  }
}

interface Flat {
  readonly node: Node;
  readonly level: number;
  readonly position: number;
  readonly siblings: number;
  readonly expanded: boolean;
}

function elementsOf(node: Node): number {
  return node.kind === 'group' ? node.elements : product(node.shape);
}
