"""Gradients of the test models by torch's autograd, in float64: per stored tensor its norm and two inner products.

Usage: python test/interop/make_gradients.py > test/runtime/gradient-goldens.json   (torch 2.13, transformers 5.24)

The gradients are put into the model in the weights' place and saved by transformers, so they come out under the names and in the
layout of the checkpoint, whatever it looked like in memory.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LENGTH = 9
forward = Path(__file__).parent.parent / "forward"
logging.disable(logging.WARNING)


def direction(count: int, factor: int) -> torch.Tensor:
    """Numbers in [-0.5, 0.5) that any language makes exactly."""
    return ((torch.arange(count, dtype=torch.int64) * factor + 17) % 211).double() / 211 - 0.5


def gradients(folder: Path) -> dict[str, list[float]]:
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **plain)
    model.train(False)
    vocabulary = model.config.vocab_size
    ids = torch.tensor([[(7 * i + 3) % vocabulary for i in range(LENGTH)]])
    targets = torch.tensor([(5 * i + 1) % vocabulary for i in range(LENGTH)])
    weights = torch.tensor([0.0 if i == 1 else -1 / LENGTH for i in range(LENGTH)], dtype=torch.float64)
    logprob = model(ids, use_cache=False).logits[0].log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (logprob * weights).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for file in sorted(Path(scratch).glob("*.safetensors")):
            for name, gradient in load_file(file).items():
                if name.endswith("e_score_correction_bias"):
                    continue  # A buffer: saved as it is.
                flat = gradient.double().flatten()
                dots = [float(flat @ direction(len(flat), factor)) for factor in (7919, 104729)]
                found[name] = [float(f"{value:.12g}") for value in (float(flat.norm()), *dots)]
    return dict(sorted(found.items()))


folders = sorted(forward.glob("fixtures/*")) + sorted(forward.glob("fixtures-running/*"))
result = {folder.name: gradients(folder) for folder in folders}
json.dump(result, sys.stdout, separators=(",", ":"))
print(f"{len(result)} models, {sum(map(len, result.values()))} tensors", file=sys.stderr)
