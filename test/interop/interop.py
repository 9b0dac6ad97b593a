"""Do our outputs mean in transformers what the plan promised? See README.md.

    python test/interop/interop.py [--only TEXT] [--keep DIR] [--cli "node dist/cli.js"] [--verify]

Makes tiny dense models of every family, upcycles each with our command line, loads the results with from_pretrained (missing,
unexpected and mismatched keys fail), compares logits in float32 and bfloat16, and prints a markdown table. Exit 1 if any promise
is broken, 0 otherwise.
"""

import argparse
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

import cases as case_list  # noqa: E402
import sources  # noqa: E402

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
EXACT_LIMIT = 2e-6
IDS = torch.randint(0, 128, (2, 48), generator=torch.Generator().manual_seed(3))


class Log:
    """Warnings that transformers logs while it loads our outputs: a field it does not know is a field we got wrong."""

    def __init__(self):
        self.lines = []

    def __enter__(self):
        outer = self

        class Handler(logging.Handler):
            def emit(self, record):
                outer.lines.append(record.getMessage().strip().replace("\n", " ")[:300])

        self.handler = Handler(level=logging.WARNING)
        logger = logging.getLogger("transformers")
        self.level = logger.level
        logger.addHandler(self.handler)
        logger.setLevel(logging.WARNING)
        return self

    def __exit__(self, *_):
        logger = logging.getLogger("transformers")
        logger.removeHandler(self.handler)
        logger.setLevel(self.level)


def load(folder, dtype):
    """The model of `folder`, or a ValueError if any key is missing, unexpected or misshapen."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    wrong = {key: sorted(map(str, value))[:4] for key, value in info.items() if value and key.endswith(("_keys", "_msgs"))}
    if wrong:
        raise ValueError(f"loading report: {wrong}")
    return model.eval()


def run(model):
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


def token_by_token(model):
    """Feeds every FFN one token at a time, as rows of copies of it. Routing regroups tokens, and matrix kernels round differently for
    groups of another size: with groups of one size, what remains is the checkpoint's own difference."""
    size = 32
    for layer in model.model.layers:
        block = getattr(layer, "mlp", None) or layer.block_sparse_moe

        def one_at_a_time(hidden, inner=block.forward):
            parts = []
            for token in hidden.reshape(-1, hidden.shape[-1]):
                out = inner(token.expand(1, size, -1).contiguous())
                pair = isinstance(out, tuple)
                parts.append((out[0] if pair else out)[0, 0])
            whole = torch.stack(parts).reshape(hidden.shape)
            return (whole, None) if pair else whole

        block.forward = one_at_a_time
    return model


def relative(a, b):
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm())


class Dense:
    """Logits of the dense sources, computed once."""

    def __init__(self):
        self.known = {}

    def logits(self, folder, dtype, single=False):
        key = (folder, dtype, single)
        if key not in self.known:
            with torch.no_grad():
                model = load(folder, dtype)
                self.known[key] = run(token_by_token(model) if single else model)
        return self.known[key]


def implementations(model):
    """The ways in which this version can run experts: its default, and the plain loop."""
    if not hasattr(model, "set_experts_implementation"):
        return [None]
    return ["default", "eager"]


def compare(dense, source, output, dtype, promised):
    """(worst relative difference, bit-equal?, bit-equal token by token?, note, parameters)"""
    reference = dense.logits(source, dtype)
    worst, equal, notes = 0.0, True, []
    model = load(output, dtype)
    for implementation in implementations(model):
        if implementation == "eager":
            model.set_experts_implementation("eager")
        try:
            logits = run(model)
        except RuntimeError as error:
            # The grouped kernel wants expert rows of whole 16 bytes; the plain loop takes any width.
            if implementation == "default" and "multiple of 16 bytes" in str(error):
                notes.append("grouped_mm refuses this width")
                continue
            raise
        if not torch.isfinite(logits).all():
            raise ValueError("logits are not finite")
        worst = max(worst, relative(logits, reference))
        equal = equal and torch.equal(logits, reference)
    single = equal
    if promised == "bit-exact" and not equal and worst < (EXACT_LIMIT if dtype == torch.float32 else 5e-2):
        with torch.no_grad():
            single = torch.equal(run(token_by_token(model)), dense.logits(source, dtype, single=True))
    return worst, equal, single, ", ".join(notes), sum(p.numel() for p in model.parameters())


def cli(command, *arguments):
    """(exit code, parsed stdout, stderr) of one call of our command line."""
    done = subprocess.run(
        [*command, *arguments, "--json"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
    except json.JSONDecodeError:
        answer = {"error": {"code": "not-json", "message": done.stdout[:200]}}
    return done.returncode, answer, done.stderr


def said(answer, stderr):
    error = answer.get("error") if isinstance(answer, dict) else None
    if error:
        return f"{error.get('code')}: {error.get('message')}"
    return (stderr.strip().splitlines() or ["no message"])[-1][:200]


def write(command, case, source, output, verify):
    """Plans and upcycles one case: {class, target} or {failure} or {refusal}."""
    settings = [part for key, value in case.settings.items() for part in ("--set", f"{key}={value}")]
    code, plan, stderr = cli(command, "plan", source, *settings)
    if case.refused:
        if code == 3 and "error" in plan:
            return {"refusal": said(plan, stderr)}
        return {"failure": f"should be refused with exit 3, plan gave {code}: {said(plan, stderr) if code else 'a plan'}"}
    if code != 0:
        return {"failure": f"plan: exit {code}: {said(plan, stderr)}"}
    result = {"class": plan["exactness"]["class"], "target": plan["target"]["modelType"], "total": plan["target"]["parameters"]["total"]}
    code, answer, stderr = cli(command, "upcycle", source, output, *settings, *case.options)
    if code != 0:
        return {**result, "failure": f"upcycle: exit {code}: {said(answer, stderr)}"}
    if verify:
        code, answer, stderr = cli(command, "verify", output, "--source", source)
        if code != 0:
            return {**result, "failure": f"verify: exit {code}: {said(answer, stderr)}"}
    return result


def judge(case, promised, f32, bf16):
    """(ok, verdict) for what the plan promised against what was measured."""
    rel, equal, single = f32[:3]
    order = case_list.CLASSES
    if promised not in order:
        return False, f"unknown class {promised}"
    if case.atleast is not None and order.index(promised) > order.index(case.atleast):
        return False, f"promises less than the reference ({case.atleast})"
    if promised == "exact":
        return (rel < EXACT_LIMIT, "kept" if rel < EXACT_LIMIT else f"BROKEN: {rel:.1e} in float32")
    if promised == "bit-exact":
        if equal and bf16[1]:
            return True, "kept"
        if rel < EXACT_LIMIT and single and bf16[2]:
            return True, "kept token by token"
        where = [name for name, ok in (("float32", equal or single), ("bfloat16", bf16[1] or bf16[2])) if not ok]
        return False, f"BROKEN: not bit-equal in {', '.join(where) or 'float32'}"
    return True, "reported"


def check(dense, case, result, source, output):
    """One row of the table: (ok, columns)."""
    if "refusal" in result:
        return True, ["–", "refused (3)", "", "", result["refusal"].split(":")[0]]
    if "failure" in result:
        return False, [result.get("target", "–"), result.get("class", "–"), "", "", f"FAILED {result['failure']}"]
    try:
        f32 = compare(dense, source, output, torch.float32, result["class"])
        bf16 = compare(dense, source, output, torch.bfloat16, result["class"])
    except Exception as error:  # Whatever transformers throws at our output is a finding, not a crash of this script.
        return False, [result["target"], result["class"], "", "", f"FAILED {type(error).__name__}: {str(error)[:300]}"]
    ok, verdict = judge(case, result["class"], f32, bf16)
    if f32[4] != result["total"]:
        ok, verdict = False, f"{verdict}; the plan counts {result['total']} parameters, torch {f32[4]}"
    notes = "; ".join(sorted({note for note in (f32[3], bf16[3]) if note}))
    columns = [
        result["target"],
        result["class"],
        "bit-equal" if f32[1] else f"{f32[0]:.1e}",
        "bit-equal" if bf16[1] else f"{bf16[0]:.1e}",
        verdict + (f" ({notes})" if notes else ""),
    ]
    return ok, columns


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="run the cases whose 'source -> recipe' contains this text")
    parser.add_argument("--keep", default="", help="work in this folder and keep it")
    parser.add_argument("--cli", default="node dist/cli.js", help="how to call our command line, from the repository root")
    parser.add_argument("--verify", action="store_true", help="also run our own verify on every output")
    options = parser.parse_args()
    command = shlex.split(options.cli)
    torch.set_num_threads(1)
    work = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="moe-interop-")
    os.makedirs(work, exist_ok=True)
    started = time.time()

    def folder_of(name):
        return os.path.join(work, "dense", name)

    try:
        cases = [case for case in case_list.all_cases(folder_of) if options.only in f"{case.source} -> {case.recipe}"]
        if not cases:
            print(f"no case contains {options.only!r}", file=sys.stderr)
            return 2
        names = {case.source for case in cases}
        for name in sorted(names):
            sources.make_source(name, folder_of(name))
        if "llama-headdim" in names:
            # A second dense model of the same shape, for recipes with several parents.
            sources.make_source("llama-headdim", folder_of("llama-headdim-twin"), seed=8)
        print(f"{len(names)} dense models made, {len(cases)} cases, {time.time() - started:.0f} s", file=sys.stderr)
        return table(command, cases, folder_of, work, options.verify, started)
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


def table(command, cases, folder_of, work, verify, started):
    dense = Dense()
    failed = []
    skipped = 0
    print(f"transformers {transformers.__version__}, torch {torch.__version__}\n")
    print("| dense | recipe | target | promised | f32 rel | bf16 rel | verdict |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    outputs = [os.path.join(work, "moe", str(i)) for i in range(len(cases))]
    os.makedirs(os.path.join(work, "moe"), exist_ok=True)
    with ThreadPoolExecutor(2) as pool, Log() as log:
        futures = [pool.submit(write, command, c, folder_of(c.source), o, verify) for c, o in zip(cases, outputs)]
        for case, output, future in zip(cases, outputs, futures):
            recipe = case.recipe.replace(work, "…").replace("|", "\\|")
            if case.v5_only and not sources.is_v5():
                skipped += 1
                print(f"| {case.source} | {recipe} | – | – | | | skipped: {case.v5_only} |", flush=True)
                continue
            try:
                result = future.result()
            except (OSError, subprocess.TimeoutExpired, KeyError, TypeError) as error:
                result = {"failure": f"{type(error).__name__}: {error}"}
            ok, columns = check(dense, case, result, folder_of(case.source), output)
            if not ok:
                failed.append(f"{case.source} -> {recipe}: {columns[-1]}")
            print(f"| {case.source} | {recipe} | " + " | ".join(columns) + " |", flush=True)
            shutil.rmtree(output, ignore_errors=True)
    print()
    for line in sorted(set(log.lines)):
        print(f"transformers warned: {line}")
    for line in failed:
        print(f"FAILED {line}")
    print(f"{len(cases) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    print(f"{time.time() - started:.0f} s", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
