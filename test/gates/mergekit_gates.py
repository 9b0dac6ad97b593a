"""Golden prompt gates: mergekit's own functions over a tiny model.

Run once, by hand (Python 3.11+, torch, transformers; `pip install --no-deps --target DIR mergekit`):

    python test/gates/mergekit_gates.py DIR ../shared/models/stories260K test/gates/fixtures/mergekit-gates.json

mergekit loads the model in bfloat16; here the same functions run over a float32 model as well (`float32`), which is what
the tool computes in. `hidden_avg` of mergekit also averages over pads; its prompts here have equally many tokens.
"""

import base64
import importlib.util
import json
import sys
import types

import torch
import transformers

PROMPTS = [
    {"positive_prompts": ["Once upon a time", "The dog ran in the park"], "negative_prompts": ["He was sad."]},
    {"positive_prompts": ["She said hello to her mom and dad"], "negative_prompts": []},
    {"positive_prompts": ["Tim had a red car"], "negative_prompts": ["They went home", "The end"]},
]
# As many tokens within each list, so that nothing is padded.
AVERAGED = [
    {"positive_prompts": ["Once upon a time", "She was so happy"], "negative_prompts": ["He was sad."]},
    {"positive_prompts": ["She said hello to her mom and dad"], "negative_prompts": []},
    {"positive_prompts": ["Tim had a red car"], "negative_prompts": ["They went home"]},
]


def load_router(folder):
    """mergekit/moe/router.py alone: its package wants dependencies that these functions do not use."""
    for name in ["mergekit", "mergekit.common", "mergekit.moe", "mergekit.moe.config"]:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["mergekit.common"].ModelReference = object
    sys.modules["mergekit.moe.config"].Expert = object
    spec = importlib.util.spec_from_file_location("router", f"{folder}/mergekit/moe/router.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    folder, path, out = sys.argv[1:4]
    router = load_router(folder)
    # As mergekit/scripts/moe.py sets it up.
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    tokenizer.padding_side = "left"
    tokenizer.pad_token_id = tokenizer.bos_token_id
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token

    def gates(mode, dtype, experts):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        config = model.config

        def run(prompts):
            tokenized = router.tokenize_prompts(prompts, tokenizer)
            if mode == "cheap_embed":
                embed = model.model.embed_tokens.weight.detach()
                return router.get_cheap_embedding(embed, tokenized, config.num_hidden_layers, config.vocab_size)
            if mode == "hidden_avg":
                assert tokenized["attention_mask"].all(), [len(tokenizer(p)["input_ids"]) for p in prompts]
            return router.get_hidden_states(model, tokenized=tokenized, average=mode == "hidden_avg")

        rows = []
        for expert in experts:
            # The loop of get_gate_params.
            hidden = run(expert["positive_prompts"])
            if expert["negative_prompts"]:
                hidden = hidden - run(expert["negative_prompts"])
            rows.append(hidden / hidden.norm(p=2, dim=-1, keepdim=True).clamp(min=1e-8))
        stacked = torch.stack(rows, dim=0).permute(1, 0, 2).float().contiguous()
        return [base64.b64encode(layer.numpy().astype("<f4").tobytes()).decode() for layer in stacked]

    def ids(experts):
        return [
            {
                key: [[t for t, m in zip(row, mask) if m] for row, mask in zip(*both)]
                for key, prompts in expert.items()
                if prompts
                for both in [[router.tokenize_prompts(prompts, tokenizer)[k].tolist() for k in ["input_ids", "attention_mask"]]]
            }
            for expert in experts
        ]

    result = {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "mergekit": "0.1.5"},
        "modes": {
            mode: {
                "prompts": experts,
                "ids": ids(experts),
                "float32": gates(mode, torch.float32, experts),
                "bfloat16": gates(mode, torch.bfloat16, experts),
            }
            for mode, experts in [("hidden", PROMPTS), ("hidden_avg", AVERAGED), ("cheap_embed", PROMPTS)]
        },
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, separators=(",", ":"))
        file.write("\n")


main()
