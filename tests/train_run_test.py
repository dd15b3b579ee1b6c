"""`msa train run` through the command: a resumed run equals an unbroken one, and what it writes is an adapter."""

import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import model_files

WORDS = "mill bridge tower garden clock harbour Turin Riga Oslo Lima Bern Cork".split()
ROOT = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def sentences(rng, count):
    return " ".join(" ".join(rng.choices(WORDS, k=rng.randint(3, 5))) + f" {rng.randint(1000, 2000)}." for _ in range(count))


@pytest.fixture(scope="module")
def run_training(tmp_path_factory, msa):
    folder = tmp_path_factory.mktemp("train")
    tiny = model_files.Tiny(folder / "model", "llama", seed=5)
    rng = random.Random(1)
    corpus, pairs, pack = folder / "corpus.jsonl", folder / "pairs.jsonl", folder / "tiny.pack"
    with open(corpus, "w") as out:
        for i in range(501):  # every 500th document is held out
            out.write(json.dumps({"title": f"D{i}", "text": sentences(rng, 5)}) + "\n")
    with open(pairs, "w") as out:
        for i in range(40):
            text = sentences(rng, 3)
            out.write(json.dumps({"query": "what of " + text.split()[0], "positive": f"{i} {text}",
                                  "answer": text.split()[1], "source": "asked", "standalone": True}) + "\n")
    subprocess.run([msa, "train", "pack", "--out", pack, "--model", tiny.folder, "--passage-tokens", "64", "--corpus",
                    corpus, "--pairs", pairs, "--cut", "1", "--quiet"], check=True, env=ENVIRONMENT)

    def run(name, start=None, **changes):
        phases = [{"name": "one", "steps": 3, "questions": 4, "warmup_steps": 1},
                  {"name": "two", "steps": 3, "questions": 4, "answer": 1, "warmup_steps": 1, "attach": 2}]
        config = {"model": str(tiny.folder), "chat_template": "llama3", "pack": str(pack), "output": str(folder / name),
                  "memory_layers": [2, 3], "routing_layers": [3], "chunk_tokens": 8, "chunk_shares": {"8": 1, "16": 1},
                  "tower_rank": 2, "reader_rank": 2, "log_steps": 1, "check_steps": 0, "checkpoint_steps": 1,
                  "phases": phases} | changes
        (folder / f"{name}.json").write_text(json.dumps(config))
        begin = ["--start", start] if start else []
        return folder / name, subprocess.run([msa, "train", "run", "--config", folder / f"{name}.json", "--json", *begin],
                                             env=ENVIRONMENT, text=True, capture_output=True)

    run.model = tiny.folder
    return run


def losses(folder):
    """Step by step, what does not depend on the clock; not the validation lines."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows if "gradient" in row]


def test_a_resumed_run_equals_an_unbroken_one(run_training, msa, tmp_path):
    whole, done = run_training("whole")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["steps"] == 6 and 0 < report["check"]["nats"]
    for limit in (0.01, 0.01, 0):  # seconds: the first two end after a step, the next goes on from there
        broken, done = run_training("broken", max_seconds=limit)
        assert done.returncode == 0, done.stderr
    assert losses(broken) == losses(whole)
    assert (broken / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()
    assert (whole / "curves.svg").read_text().startswith("<svg")

    assert_encodes(msa, run_training.model, whole / "adapter.safetensors", tmp_path)


def assert_encodes(msa, model, adapter, folder):
    document = folder / "a.txt"
    document.write_text("The mill of Turin was built in 1815. The clock of Riga came later.")
    added = subprocess.run([msa, "add", folder / "bank", document, "--json", "--passage-tokens", "64", "--model", model,
                            "--chat-template", "llama3", "--adapter", adapter], text=True, capture_output=True)
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["encoded_passages"] >= 1


def values(path):
    """The adapter's tensors by name, 8-bit ones times their scales."""
    stored = safetensors.numpy.load_file(path)
    return {name: tensor * stored.get(f"{name}.scale", np.ones(1, np.float32)).reshape(-1, *[1] * (tensor.ndim - 1))
            for name, tensor in stored.items() if not name.endswith(".scale")}


def test_the_average_of_an_adapter_and_what_it_became(run_training, msa, tmp_path):
    first, done = run_training("first")
    assert done.returncode == 0, done.stderr
    fast = [{"name": "fast", "steps": 3, "questions": 4, "warmup_steps": 1, "update_rate": 0.02}]
    second, done = run_training("second", start=first / "adapter.safetensors", seed=2, reader_rank=3, phases=fast)
    assert done.returncode == 0, done.stderr

    def average(*arguments):
        return subprocess.run([sys.executable, ROOT / "scripts/average_adapters.py", *arguments, "--share", "0.25", "--out",
                               tmp_path / "mean.safetensors"], text=True, capture_output=True)

    done = average(first / "adapter.safetensors", second / "adapter.safetensors")
    assert done.returncode == 0, done.stderr
    before, after = values(first / "adapter.safetensors"), values(second / "adapter.safetensors")
    mean = values(tmp_path / "mean.safetensors")
    assert mean.keys() == after.keys()
    assert any(np.abs(after[name][: len(value)] - value).max() > 1e-3 for name, value in before.items())
    for name, value in mean.items():
        known = len(before[name])
        expected = 0.75 * before[name] + 0.25 * after[name][:known]
        assert np.abs(value[:known] - expected).max() <= np.abs(expected).max() / 200, name
        added = after[name][known:] * (0.25 if name.endswith(".b") else 1)
        assert np.allclose(value[known:], added, atol=1e-2 * np.abs(after[name]).max()), name
    assert_encodes(msa, run_training.model, tmp_path / "mean.safetensors", tmp_path)
    done = average(first / "adapter.safetensors", second / "adapter.safetensors", "--tower-share", "1")
    assert done.returncode == 0, done.stderr
    for name, value in values(tmp_path / "mean.safetensors").items():
        expected = mean[name] if name.startswith("reader.") or ".residual." in name else after[name]
        assert np.abs(value - expected).max() <= np.abs(expected).max() / 200, name
    done = average(second / "adapter.safetensors", first / "adapter.safetensors")
    assert done.returncode == 1 and "reader." in done.stderr


def test_a_wrong_configuration_is_named(run_training):
    _, done = run_training("wrong", stesp=3)
    assert done.returncode == 1 and 'unknown key \\"stesp\\"' in done.stdout + done.stderr
