"""What the interop run tries: source, settings of the recipe, and the class that the reference says is due at least."""

from dataclasses import dataclass, field

CLASSES = ["bit-exact", "exact", "approximate", "not-preserving"]


@dataclass
class Case:
    source: str
    settings: dict
    # The weakest class that the plan may name. None: only that it loads is asked.
    atleast: str | None
    # Exit code 3 expected instead of an output.
    refused: bool = False
    # Reason why this case cannot hold on transformers 4 (its class lacks a field), else "".
    v5_only: str = ""
    options: list = field(default_factory=list)

    @property
    def recipe(self):
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or "(defaults)"


ZERO = {"router.init": "zero"}
STD1 = {"router.std": 1}
PAIRS = [
    ("llama", "mixtral"),
    ("llama-tied-llama3", "mixtral"),
    ("mistral-window", "mixtral"),
    ("phi3", "mixtral"),
    ("qwen2", "qwen2_moe"),
    ("llama", "qwen2_moe"),
    ("mistral-window", "qwen2_moe"),
    ("qwen3", "qwen3_moe"),
    ("olmo2", "flex_olmo"),
    ("granite", "granitemoe"),
    ("llama", "granitemoe"),
]


def all_cases(folder_of):
    """Every case. `folder_of(source)` gives a source's folder, for recipes that name parents."""
    cases = []

    def add(source, settings, atleast, **more):
        cases.append(Case(source, settings, atleast, **more))

    # Every exact pair: random routers, zero router (bit-exact), top-1.
    for source, target in PAIRS:
        pair = {"target": target}
        add(source, pair, "exact")
        add(source, {**pair, **STD1, "experts": 4, "top_k": 3}, "exact")
        add(source, {**pair, **ZERO}, "bit-exact")
        add(source, {**pair, **ZERO, "top_k": 4}, "bit-exact")
        add(source, {**pair, "top_k": 1}, "bit-exact")
        # Granular: E4G4T4.
        add(source, {**pair, "experts": 16, "top_k": 4, "granularity": 4}, "exact")

    # Rope of every kind, head_dim, dtypes, shards, spellings, default target.
    add("llama", {}, "exact")
    for source in ("llama-yarn", "llama-linear", "llama-dynamic", "llama-v4rope", "phi3-longrope"):
        add(source, ZERO, "bit-exact")
    for source in ("llama-headdim", "mistral-headdim"):
        add(source, ZERO, "bit-exact")
        add(source, {"target": "qwen2_moe", **ZERO}, "bit-exact", v5_only="qwen2_moe of transformers 4 ignores head_dim")
    add("llama-yarn", {"target": "qwen2_moe", **ZERO}, "bit-exact")
    add("llama-headdim", {"target": "granitemoe", **ZERO}, "bit-exact", v5_only="granitemoe of transformers 4 ignores head_dim")
    add("llama-bias", {"target": "granitemoe", **ZERO}, "bit-exact")
    add("llama-bf16", ZERO, "bit-exact")
    add("llama-bf16", {"experts": 16, "top_k": 4, "granularity": 4}, "exact")
    # √3 rounds in bfloat16: whatever the plan says of it must hold.
    add("llama-bf16", {"experts": 12, "top_k": 3, "granularity": 3}, None)
    add("llama-sharded", ZERO, "bit-exact")
    add("llama", {**ZERO, "output.shard_size": "50KB"}, "bit-exact")
    add("llama", {"output.dtype": "bfloat16"}, "approximate")
    add("llama-bf16", {**ZERO, "output.dtype": "float32"}, "bit-exact")

    # Gemma, folded.
    add("gemma", {"output.dtype": "float32"}, "exact")
    add("gemma", {"output.dtype": "float32", **ZERO}, "exact")
    add("gemma-bf16", {"output.dtype": "float32"}, "exact")
    add("gemma-bf16", {}, "approximate")

    # Shared-expert plans.
    for plan in ("a", "b", "c"):
        for source in ("qwen2", "qwen2-tied", "llama"):
            due = "bit-exact" if plan == "c" else "exact"
            add(source, {"target": "qwen2_moe", "shared_expert": plan, **STD1}, due)
    add("qwen2", {"shared_expert": "b", **ZERO}, "exact")
    add("qwen2", {"shared_expert": "c", "experts": 16, "granularity": 4, "top_k": 4}, "bit-exact")
    add("qwen2", {"shared_expert": "b", "experts": 16, "granularity": 4, "top_k": 4}, "exact")
    windows = "qwen2_moe of transformers 4 windows all layers or none"
    add("qwen2-window", ZERO, "bit-exact", v5_only=windows)
    add("qwen2-window", {"layers": "every:2"}, "exact", v5_only=windows)

    # Granular: E replicas of G slices, T a multiple of G.
    for source in ("llama", "qwen2", "qwen3", "granite"):
        for g in (2, 3, 4):
            add(source, {"experts": 4 * g, "granularity": g, "top_k": g}, "exact")
            add(source, {"experts": 4 * g, "granularity": g, "top_k": 2 * g}, "exact")
        add(source, {"experts": 64, "granularity": 8, "top_k": 8}, "exact")
    add("llama", {"experts": 16, "granularity": 4, "top_k": 4, **ZERO}, "exact")
    add("gemma", {"experts": 16, "granularity": 4, "top_k": 4, "output.dtype": "float32"}, "exact")
    add("llama", {"experts": 16, "granularity": 4, "top_k": 3}, None)
    add("llama", {"experts": 16, "granularity": 4, "top_k": 4, "scale": "none"}, None)
    add("llama", {"experts": 16, "granularity": 4, "top_k": 4, "scale": "megatron"}, None)

    # Softmax before top-k: exact for the zero router only.
    softmax_first = {"router.order": "softmax-topk"}
    for source in ("qwen2", "qwen3", "olmo2", "llama"):
        add(source, {**softmax_first, **ZERO}, "bit-exact")
        add(source, {**softmax_first, **ZERO, "experts": 16, "granularity": 4, "top_k": 4}, "exact")
        add(source, {**softmax_first, **ZERO, "experts": 6, "top_k": 2}, "exact")
        add(source, softmax_first, None)

    # Some layers only.
    for source in ("qwen2", "qwen3", "llama", "mistral-window"):
        for layers in ("every:2", "[0]", "[0, 2]", "1-2"):
            add(source, {"layers": layers}, "exact")
        add(source, {"layers": "[1]", **ZERO}, "bit-exact")

    # Expert initialisations.
    add("llama", {"expert_init.method": "permute"}, "exact")
    add("qwen3", {"expert_init.method": "permute", "experts": 8, "granularity": 2, "top_k": 2}, "exact")
    add("granite", {"expert_init.method": "permute"}, "exact")
    for by in ("sequential", "random", "norm"):
        settings = {"expert_init": f"{{method: split, by: {by}}}", "experts": 16, "granularity": 4, "top_k": 4}
        add("llama", settings, "exact")
        add("qwen3", settings, "exact")
    add("granite", {"expert_init": "{method: split, by: random}", "experts": 8, "granularity": 2, "top_k": 2}, "exact")
    add("llama", {"expert_init": "{method: noise, std: 0.01, ratio: 0.5}"}, None)
    add("llama", {"expert_init": "{method: drop, ratio: 0.5, variant: paper}"}, None)
    add("llama", {"expert_init": "{method: drop, ratio: 0.5, variant: official}"}, None)
    add("qwen3", {"expert_init": "{method: drop, ratio: 0.5, variant: paper}"}, None)
    add("llama", {"expert_init": "{method: svd, rank: 16, scale: 0.5}"}, None)
    for router in ("uniform", "orthogonal"):
        add("llama", {"router.init": router}, "exact")
        add("llama", {"router.init": router, "experts": 16, "granularity": 4, "top_k": 4}, "exact")

    # Several dense parents as experts.
    other = folder_of("llama-headdim-twin")
    parents = f"[{{path: {folder_of('llama-headdim')}, experts: 2}}, {{path: {other}, experts: 2}}]"
    for rest in ("base", "average"):
        add("llama-headdim", {"experts": 4, "parents": parents, "rest": rest}, None)

    # What must be refused with exit 3 rather than written wrongly.
    for source, settings in (
        ("qwen2", {"target": "mixtral"}),
        ("qwen3", {"target": "mixtral"}),
        ("llama", {"target": "olmoe"}),
        ("llama-bias", {"target": "mixtral"}),
        ("llama", {"target": "mixtral", "layers": "every:2"}),
        ("llama", {"target": "mixtral", **softmax_first}),
        ("granite", softmax_first),
        ("qwen2", {"shared_expert": "none"}),
        ("llama", {"experts": 10, "granularity": 5, "top_k": 5}),
    ):
        add(source, settings, None, refused=True)
    return cases
