"""Tiny random models of transformers' own classes, for fixtures and for the interop run."""

import json
import os

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def randomise(model, seed, gain=1.0):
    """Draw every parameter and buffer-like bias anew: matrices N(0, gain^2 / fan_in), embeddings N(0, 1), norms about their
    neutral value, biases small but not zero. The usual N(0, 0.02) would leave attention and routing nearly uniform, which hides bugs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    with torch.no_grad():
        named = list(model.named_parameters()) + [(n, b) for n, b in model.named_buffers() if "correction_bias" in n]
        for name, parameter in sorted(named):
            shape = parameter.shape
            if "norm" in name and name.endswith("weight"):
                neutral = 0.0 if model.config.model_type in ("gemma", "gemma2") else 1.0
                value = neutral + 0.2 * normal(shape)
            elif "embed_tokens" in name:
                value = normal(shape)
            elif name.endswith("bias") or name.endswith("sinks") or parameter.dim() == 1:
                value = 0.3 * normal(shape)
            else:
                value = gain * normal(shape) / shape[-1] ** 0.5
            parameter.copy_(value.to(parameter.dtype))
    return model


def make(model_type, overrides, seed, gain=1.0):
    """A float32 model of `model_type` in eval mode. `overrides` are config fields; special token ids stay inside tiny vocabularies."""
    fields = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "attn_implementation": "eager", "experts_implementation": "eager", **overrides}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **fields)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return randomise(model, seed, gain).eval()


def logits_of(model, ids):
    """Logits [len(ids), vocab] of one sequence as float32, without a cache."""
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def edit_config(folder, change):
    """Rewrite config.json of `folder` through `change(dict)`."""
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    change(config)
    with open(path, "w") as file:
        json.dump(config, file, indent=1)
        file.write("\n")


def spell_rope_as_v4(config):
    """`rope_parameters` (transformers 5) to `rope_theta` + `rope_scaling` (transformers 4). Both versions read the older spelling."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    if config["model_type"] == "phi3":
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor", 1.0)
    kind = rope.pop("rope_type", "default")
    if kind == "default":
        config["rope_scaling"] = None
    else:
        # phi3 of the hub says "type" and keeps the original length beside it; the others say "rope_type".
        if config["model_type"] == "phi3":
            config["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
            config["rope_scaling"] = {"type": kind, **rope}
        else:
            config["rope_scaling"] = {"rope_type": kind, **rope}
