"""Dense source checkpoints of the interop run: every family, tiny, shaped like the reference's measured table."""

import os

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers import __version__ as transformers_version

import tiny

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
# The input has 48 tokens, beyond 32: the long factors are the ones in use.
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.05 * i for i in range(8)],
    "long_factor": [1.0 + 0.7 * i for i in range(8)],
    "original_max_position_embeddings": 32,
    "partial_rotary_factor": 1.0,
}

# name: (model_type, config fields beyond SHAPE, how it is saved)
SOURCES = {
    "llama": ("llama", {}, {}),
    "llama-tied-llama3": ("llama", {"tie_word_embeddings": True, "rope": LLAMA3}, {}),
    # Without head_dim, as older hub configs are: mixtral's yarn, dynamic and longrope crash on a head_dim of null.
    "llama-yarn": ("llama", {"rope": YARN}, {"edit": lambda config: config.pop("head_dim", None)}),
    "llama-linear": ("llama", {"rope": LINEAR}, {}),
    "llama-dynamic": ("llama", {"rope": DYNAMIC, "max_position_embeddings": 32}, {}),
    "llama-headdim": ("llama", {"head_dim": 24, "rms_norm_eps": 1e-6}, {}),
    "llama-bf16": ("llama", {}, {"dtype": torch.bfloat16}),
    "llama-sharded": ("llama", {}, {"shard": "40KB"}),
    "llama-bias": ("llama", {"attention_bias": True}, {}),
    "llama-v4rope": ("llama", {"rope": LLAMA3}, {"edit": tiny.spell_rope_as_v4}),
    "mistral-window": ("mistral", {"sliding_window": 8}, {}),
    "mistral-headdim": ("mistral", {"sliding_window": None, "head_dim": 24}, {}),
    "phi3": ("phi3", {"sliding_window": 9}, {}),
    "phi3-longrope": ("phi3", {"rope": LONGROPE, "original_max_position_embeddings": 32}, {"edit": tiny.spell_rope_as_v4}),
    "qwen2": ("qwen2", {"rms_norm_eps": 1e-6}, {}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}, {}),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
        # Hub configs name no layer_types: the rule of the class must be carried over, not the fields alone.
        {"edit": lambda config: config.pop("layer_types", None)},
    ),
    "qwen3": ("qwen3", {"head_dim": 24, "tie_word_embeddings": True}, {}),
    "olmo2": ("olmo2", {}, {}),
    "granite": (
        "granite",
        {"embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5, "logits_scaling": 2.5},
        {},
    ),
    "gemma": ("gemma", {"head_dim": 24, "tie_word_embeddings": True}, {}),
    "gemma-bf16": ("gemma", {"head_dim": 24, "tie_word_embeddings": True}, {"dtype": torch.bfloat16}),
}


def is_v5():
    return int(transformers_version.split(".")[0]) >= 5


def make_source(name, folder, seed=7):
    """Writes source `name` to `folder`: initial weights x4, norms and biases random, as the reference's table has them."""
    model_type, fields, saving = SOURCES[name]
    fields = {**SHAPE, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, **fields}
    rope = fields.pop("rope", None)
    if rope is not None:
        if is_v5():
            fields["rope_parameters"] = dict(rope)
        else:
            rope = dict(rope)
            fields["rope_theta"] = rope.pop("rope_theta")
            if model_type == "phi3":
                rope.pop("original_max_position_embeddings")
                rope.pop("partial_rotary_factor")
                rope["type"] = rope.pop("rope_type")
            fields["rope_scaling"] = rope
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **fields), dtype=torch.float32)
    neutral = 0.0 if model_type == "gemma" else 1.0
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key and key.endswith("weight"):
                parameter.copy_(neutral + 0.2 * torch.randn_like(parameter))
            elif parameter.dim() < 2:
                parameter.copy_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(4)
    model.to(saving.get("dtype", torch.float32))
    model.save_pretrained(folder, max_shard_size=saving.get("shard", "5GB"))
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    edit = saving.get("edit")
    if edit is not None and (is_v5() or edit is not tiny.spell_rope_as_v4):
        tiny.edit_config(folder, edit)
