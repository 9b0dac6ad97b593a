"""Make test/forward/fixtures, fixtures-running and fixtures-reading. Needs torch 2.13 and transformers 5.24.

    python test/interop/make_fixtures.py [NAME ...]

fixtures/NAME: config.json, model.safetensors, expected_logits.json (float32 logits that transformers computed).
fixtures-running/NAME: the same of families that run but are not written.
fixtures-reading/NAME: config.json, model.safetensors, truth.json (what torch and the config say of its structure).
Everything is seeded by its name: running this again gives the same bytes with the same versions.
"""

import json
import os
import shutil
import sys
import zlib

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from transformers import __version__ as transformers_version

import tiny

HERE = os.path.dirname(os.path.abspath(__file__))
FORWARD = os.path.join(HERE, "..", "forward", "fixtures")
RUNNING = os.path.join(HERE, "..", "forward", "fixtures-running")
READING = os.path.join(HERE, "..", "forward", "fixtures-reading")

BASE = {
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 16,
    "max_position_embeddings": 64,
}
GQA4 = {**BASE, "num_attention_heads": 4, "num_key_value_heads": 2}
# Rope variants: one narrow layer is enough to see the frequencies, and keeps the repository small.
ONE = {**BASE, "num_hidden_layers": 1, "intermediate_size": 8}
MOE = {**GQA4, "intermediate_size": 4}
QWEN_MOE = {**GQA4, "moe_intermediate_size": 4, "num_experts": 4, "num_experts_per_tok": 2}


def rope(kind, theta=10000.0, **fields):
    return {"rope_type": kind, "rope_theta": theta, **fields}


# name: (model_type, config fields, spelling of rope on disk)
FORWARD_MODELS = {
    "llama": ("llama", {**GQA4, "head_dim": 6, "rms_norm_eps": 1e-5, "attention_bias": True, "mlp_bias": True}, 5),
    "llama-tied-llama3rope": (
        "llama",
        {
            **BASE,
            "tie_word_embeddings": True,
            "max_position_embeddings": 256,
            "rope_parameters": rope(
                "llama3", 100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
            ),
        },
        4,
    ),
    "llama-yarn": (
        "llama",
        {
            **ONE,
            "max_position_embeddings": 256,
            "rope_parameters": rope("yarn", factor=4.0, original_max_position_embeddings=64),
        },
        5,
    ),
    "llama-yarn-mscale": (
        "llama",
        {
            **ONE,
            "max_position_embeddings": 256,
            "rope_parameters": rope(
                "yarn",
                factor=4.0,
                original_max_position_embeddings=64,
                mscale=1.0,
                mscale_all_dim=0.5,
                beta_fast=16,
                beta_slow=2,
                truncate=False,
            ),
        },
        4,
    ),
    "llama-linear": ("llama", {**ONE, "rope_parameters": rope("linear", factor=4.0)}, 4),
    "llama-dynamic": ("llama", {**ONE, "max_position_embeddings": 8, "rope_parameters": rope("dynamic", factor=2.0)}, 4),
    "mistral-window": ("mistral", {**BASE, "head_dim": 6, "sliding_window": 4}, 5),
    "qwen2": ("qwen2", GQA4, 4),
    "qwen2-window": (
        "qwen2",
        {**ONE, "num_hidden_layers": 2, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
        5,
    ),
    "qwen3": ("qwen3", {**GQA4, "head_dim": 6}, 5),
    "phi3": ("phi3", {**GQA4, "sliding_window": 5}, 4),
    "phi3-longrope": (
        "phi3",
        {
            **ONE,
            "original_max_position_embeddings": 8,
            "rope_parameters": rope(
                "longrope",
                short_factor=[1.0, 1.1, 1.3, 1.6],
                long_factor=[1.0, 2.5, 5.0, 9.0],
                original_max_position_embeddings=8,
                partial_rotary_factor=1.0,
            ),
        },
        4,
    ),
    "olmo2": ("olmo2", GQA4, 5),
    "granite": (
        "granite",
        {
            **GQA4,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.5,
        },
        4,
    ),
    "gemma": ("gemma", {**BASE, "head_dim": 6, "tie_word_embeddings": True}, 4),
    "mixtral": ("mixtral", {**MOE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6}, 4),
    "qwen2_moe": ("qwen2_moe", {**QWEN_MOE, "shared_expert_intermediate_size": 6, "norm_topk_prob": True}, 4),
    "qwen2_moe-mixed": (
        "qwen2_moe",
        {
            **QWEN_MOE,
            "num_hidden_layers": 4,
            "intermediate_size": 10,
            "shared_expert_intermediate_size": 4,
            "norm_topk_prob": False,
            "qkv_bias": False,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 3,
        },
        5,
    ),
    "qwen3_moe": ("qwen3_moe", {**QWEN_MOE, "head_dim": 6, "norm_topk_prob": True, "mlp_only_layers": [0]}, 4),
    "olmoe": ("olmoe", {**MOE, "num_experts": 4, "num_experts_per_tok": 2, "clip_qkv": 0.8}, 5),
    "flex_olmo": ("flex_olmo", {**MOE, "num_experts": 4, "num_experts_per_tok": 3, "norm_topk_prob": True}, 5),
    "granitemoe": (
        "granitemoe",
        {
            **MOE,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.5,
        },
        5,
    ),
}

SMALL = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 12,
    "max_position_embeddings": 64,
}
MLA = {
    **SMALL,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 4,
    "q_lora_rank": 6,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 4,
    "moe_intermediate_size": 3,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
}

MLA_RUN = {**MLA, "num_hidden_layers": 2, "v_head_dim": 3}
YARN_MLA = rope(
    "yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.7, beta_fast=32, beta_slow=1
)

# name: (model_type, config fields, spelling of rope on disk)
RUNNING_MODELS = {
    "deepseek_v2": ("deepseek_v2", {**MLA_RUN, "n_shared_experts": 2, "rope_parameters": YARN_MLA}, 4),
    "deepseek_v2-groups": (
        "deepseek_v2",
        {
            **MLA_RUN,
            "n_shared_experts": 1,
            "q_lora_rank": None,
            "topk_method": "group_limited_greedy",
            "n_routed_experts": 6,
            "n_group": 3,
            "topk_group": 2,
            "routed_scaling_factor": 3.0,
            "attention_bias": True,
            "mlp_bias": True,
        },
        5,
    ),
    "deepseek_v3": (
        "deepseek_v3",
        {**MLA_RUN, "n_shared_experts": 1, "n_routed_experts": 6, "n_group": 3, "topk_group": 2, "num_mtp_layers": 0},
        5,
    ),
    "deepseek_v3-halves": (
        "deepseek_v3",
        {
            **MLA_RUN,
            "n_shared_experts": 2,
            "q_lora_rank": None,
            "n_group": 1,
            "topk_group": 1,
            "norm_topk_prob": False,
            "rope_interleave": False,
            "attention_bias": True,
            "rope_parameters": YARN_MLA,
            "num_mtp_layers": 0,
        },
        4,
    ),
    "ernie4_5_moe": (
        "ernie4_5_moe",
        {
            **SMALL,
            "num_hidden_layers": 3,
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_intermediate_size": 3,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": 1,
            "tie_word_embeddings": True,
        },
        5,
    ),
    "ernie4_5_moe-bias": (
        "ernie4_5_moe",
        {
            **SMALL,
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_intermediate_size": 3,
            "moe_num_shared_experts": 1,
            "moe_layer_interval": 2,
            "tie_word_embeddings": False,
            "use_bias": True,
        },
        5,
    ),
    "phimoe": (
        "phimoe",
        {
            **SMALL,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 6,
            "attention_bias": True,
            "lm_head_bias": True,
            "router_jitter_noise": 0.3,
            "sliding_window": 5,
        },
        5,
    ),
    "phimoe-longrope": (
        "phimoe",
        {
            **SMALL,
            "num_hidden_layers": 1,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 6,
            "rope_parameters": rope(
                "longrope",
                short_factor=[1.0, 1.5],
                long_factor=[1.0, 6.0],
                short_mscale=1.1,
                long_mscale=1.3,
                original_max_position_embeddings=64,
            ),
        },
        4,
    ),
    "gemma2": (
        "gemma2",
        {
            **SMALL,
            "num_hidden_layers": 3,
            "head_dim": 6,
            "sliding_window": 4,
            "query_pre_attn_scalar": 10,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        4,
    ),
    "smollm3": (
        "smollm3",
        {**SMALL, "num_hidden_layers": 3, "no_rope_layer_interval": 2, "use_sliding_window": True, "sliding_window": 4},
        5,
    ),
    "llama4_text": (
        "llama4_text",
        {
            **SMALL,
            "head_dim": 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "intermediate_size": 6,
            "intermediate_size_mlp": 10,
            "interleave_moe_layer_step": 2,
            "no_rope_layer_interval": 2,
        },
        5,
    ),
    "llama4_text-plain": (
        "llama4_text",
        {
            **SMALL,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 6,
            "num_local_experts": 3,
            "num_experts_per_tok": 2,
            "intermediate_size": 6,
            "use_qk_norm": False,
            "attn_temperature_tuning": False,
            "attention_bias": True,
            "rope_parameters": rope(
                "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
            ),
        },
        5,
    ),
    "gpt_oss": (
        "gpt_oss",
        {
            **SMALL,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 6,
            "sliding_window": 4,
            "swiglu_limit": 0.7,
        },
        5,
    ),
}

# name: (model_type, config fields, {"experts", "topK", "expertWidth", "shared", "sharedWidth", "moeLayers"})
READING_MODELS = {
    "deepseek_v2": (
        "deepseek_v2",
        {**MLA, "n_shared_experts": 2},
        {"experts": 4, "topK": 2, "expertWidth": 3, "shared": 2, "sharedWidth": 6, "moeLayers": [1, 2]},
    ),
    "deepseek_v3": (
        "deepseek_v3",
        {**MLA, "n_shared_experts": 1, "n_group": 2, "topk_group": 1, "num_mtp_layers": 0},
        {"experts": 4, "topK": 2, "expertWidth": 3, "shared": 1, "sharedWidth": 3, "moeLayers": [1, 2]},
    ),
    "gpt_oss": (
        "gpt_oss",
        {**SMALL, "head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6, "sliding_window": 4},
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 0, "sharedWidth": 0, "moeLayers": [0, 1]},
    ),
    "phimoe": (
        "phimoe",
        {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6},
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 0, "sharedWidth": 0, "moeLayers": [0, 1]},
    ),
    "ernie4_5_moe": (
        "ernie4_5_moe",
        {
            **SMALL,
            "num_hidden_layers": 4,
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_intermediate_size": 3,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": 2,
            "tie_word_embeddings": True,
        },
        {"experts": 4, "topK": 2, "expertWidth": 3, "shared": 2, "sharedWidth": 6, "moeLayers": [1, 2]},
    ),
    "llama4_text": (
        "llama4_text",
        {
            **SMALL,
            "head_dim": 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "intermediate_size": 6,
            "intermediate_size_mlp": 10,
            "interleave_moe_layer_step": 2,
            "use_qk_norm": False,
        },
        {"experts": 4, "topK": 1, "expertWidth": 6, "shared": 1, "sharedWidth": 6, "moeLayers": [1]},
    ),
    "mixtral": (
        "mixtral",
        {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6},
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 0, "sharedWidth": 0, "moeLayers": [0, 1]},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {**SMALL, "head_dim": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6, "mlp_only_layers": [0]},
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 0, "sharedWidth": 0, "moeLayers": [1]},
    ),
    "qwen2_moe": (
        "qwen2_moe",
        {
            **SMALL,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 6,
            "shared_expert_intermediate_size": 10,
            "decoder_sparse_step": 2,
        },
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 1, "sharedWidth": 10, "moeLayers": [1]},
    ),
    "granitemoe": (
        "granitemoe",
        {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6},
        {"experts": 4, "topK": 2, "expertWidth": 6, "shared": 0, "sharedWidth": 0, "moeLayers": [0, 1]},
    ),
}
# Families whose default layout already stands in fixtures/: only the packed one is added here.
PACKED_ONLY = {"mixtral", "qwen3_moe", "qwen2_moe", "granitemoe"}

# Its packed layout is deepseek_v3's.
PER_EXPERT_ONLY = {"deepseek_v2"}


def seed_of(name):
    return zlib.crc32(name.encode()) % (2**31)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def tidy(folder, keep):
    for name in os.listdir(folder):
        if name not in keep:
            os.remove(os.path.join(folder, name))


def sequences(vocab):
    # The short one stays below, the long one goes beyond, the original length of the dynamic and longrope fixtures.
    return [[(5 * i + 3) % vocab for i in range(5)], [(7 * i * i + 11 * i + 1) % vocab for i in range(11)]]


def make_forward(name, models=FORWARD_MODELS, into=FORWARD):
    model_type, fields, spelling = models[name]
    folder = os.path.join(into, name)
    fresh(folder)
    model = tiny.make(model_type, fields, seed_of(name))
    model.save_pretrained(folder)
    tidy(folder, {"config.json", "model.safetensors"})
    tiny.edit_config(folder, tiny.spell_rope_as_v4 if spelling == 4 else lambda config: None)
    ids = sequences(model.config.vocab_size)
    logits = [tiny.logits_of(model, sequence) for sequence in ids]
    for sequence, expected in zip(ids, logits):
        # A fresh load for each sequence: dynamic rope keeps state. The reloaded model must be the same function.
        again, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="eager",
            experts_implementation="eager",
            output_loading_info=True,
        )
        assert not info["missing_keys"] and not info["unexpected_keys"], (name, info)
        difference = (tiny.logits_of(again.eval(), sequence) - expected).norm() / expected.norm()
        assert difference < 2e-6, (name, float(difference))
    with open(os.path.join(folder, "expected_logits.json"), "w") as file:
        rows = [[[float(f"{x:.7g}") for x in row] for row in one.tolist()] for one in logits]
        json.dump({"transformers": transformers_version, "sequences": ids, "logits": rows}, file, separators=(",", ":"))
        file.write("\n")


def names_in(folder):
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
        return {key: file.get_slice(key).get_shape() for key in file.keys()}


def make_reading(name):
    model_type, fields, structure = READING_MODELS[name]
    model = tiny.make(model_type, fields, seed_of(name))
    total = sum(p.numel() for p in model.parameters())
    routed = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
    idle = routed * (structure["experts"] - structure["topK"])
    assert idle % structure["experts"] == 0
    layouts = {}
    for layout, original in (("", True), ("-packed", False)):
        folder = os.path.join(READING, name + layout)
        fresh(folder)
        model.save_pretrained(folder, save_original_format=original)
        tidy(folder, {"config.json", "model.safetensors"})
        layouts[layout] = names_in(folder)
    same = layouts[""] == layouts["-packed"]
    for layout in layouts:
        folder = os.path.join(READING, name + layout)
        if (layout == "-packed" and (same or name in PER_EXPERT_ONLY)) or (layout == "" and name in PACKED_ONLY):
            shutil.rmtree(folder)
            continue
        tensors = layouts[layout]
        elements = sum(int(torch.tensor(shape).prod()) if shape else 1 for shape in tensors.values())
        packed = not any(".experts.0." in key for key in tensors)
        truth = {
            "modelType": model_type,
            "layout": "packed" if packed else "per-expert",
            "parameters": {"total": total, "active": total - idle // structure["experts"]},
            "elementsInFile": elements,
            "tied": bool(model.config.tie_word_embeddings),
            "tensorCount": len(tensors),
            **structure,
            "comment": "parameters: nn.Parameter counted by torch, tied once; active leaves out the routed experts not chosen."
            " elementsInFile adds buffers (e_score_correction_bias).",
        }
        with open(os.path.join(folder, "truth.json"), "w") as file:
            json.dump(truth, file, indent=1)
            file.write("\n")


def main():
    wanted = set(sys.argv[1:])
    for name in FORWARD_MODELS:
        if not wanted or name in wanted:
            make_forward(name)
            print("forward", name, flush=True)
    for name in RUNNING_MODELS:
        if not wanted or name in wanted:
            make_forward(name, RUNNING_MODELS, RUNNING)
            print("running", name, flush=True)
    for name in READING_MODELS:
        if not wanted or name in wanted:
            make_reading(name)
            print("reading", name, flush=True)


if __name__ == "__main__":
    main()
