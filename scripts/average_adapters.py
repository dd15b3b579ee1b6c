#!/usr/bin/env python3
"""Averages two adapters, the second trained from the first: scripts/average_adapters.py FIRST SECOND --out FILE

What training goes on to learn about its own text costs on text that it has not seen; half way between two ends of one
path keeps most of the gain without the cost (docs/training.md, The adapter that ships). Every value is averaged, also
`routing_weights` and `alpha`. The second adapter's ranks may be larger, or it may have updates where the first has none:
of ranks that only it has, `b` is averaged with the zeros it began from and `a` is taken as it is. What both have alike
stays as it is, to the bit. Values that are i8 in the second are i8 in the result, by row.
Needs numpy and safetensors.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np
import safetensors
import safetensors.numpy


def fail(message):
    sys.exit(f"average_adapters: error: {message}")


class AdapterFile:
    def __init__(self, path):
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safetensors.safe_open(path, "np") as file:
            self.metadata = file.metadata()
            stored = {name: file.get_tensor(name) for name in file.keys()}
        if (self.metadata or {}).get("format") != "msa-adapter":
            fail(f"{path} is no adapter")
        self.config = json.loads(self.metadata["config"])
        self.is_i8 = {name: tensor.dtype == np.int8 for name, tensor in stored.items() if not name.endswith(".scale")}
        self.values = {name: stored[name].astype(np.float32) for name in self.is_i8}
        for name in self.values:
            if self.is_i8[name]:
                self.values[name] *= stored[f"{name}.scale"][:, None]


def widen(name, first, second):
    """`first` with the ranks that it lacks, as training began them."""
    if first.shape == second.shape:
        return first
    if first.shape[1:] != second.shape[1:] or len(first) > len(second) or not name.endswith((".a", ".b")):
        fail(f"{name} is {list(first.shape)} in the first adapter and {list(second.shape)} in the second")
    added = second[len(first) :]
    return np.concatenate([first, added if name.endswith(".a") else np.zeros_like(added)])


def is_of_reading(name):
    """Whether nothing that routes depends on the tensor: what `"tower_factor": 0` trains."""
    return name.startswith(("reader.", "text_reader.")) or ".residual." in name


def average(first, second, share, tower_share):
    added = second.values.keys() - first.values.keys()
    if first.values.keys() - second.values.keys() or not all(name.endswith((".a", ".b")) for name in added):
        fail("the adapters have different tensors")
    for key in ("backbone", "memory_layers", "routing_layers"):
        if first.config[key] != second.config[key]:
            fail(f"the adapters have different {key}")
    tensors = {}
    for name, value in second.values.items():
        part = share if is_of_reading(name) else tower_share
        mean = widen(name, first.values.get(name, value[:0]), value)
        if not np.array_equal(mean, value):
            mean = (1 - part) * mean + part * value
        if second.is_i8[name]:
            scale = np.abs(mean).max(axis=1) / 127
            tensors[f"{name}.scale"] = scale.astype(np.float32)
            mean = np.rint(mean / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
        tensors[name] = mean.astype(np.int8 if second.is_i8[name] else np.float32)
    config = dict(second.config)
    for key, part in (("routing_weights", tower_share), ("alpha", share)):
        config[key] = [(1 - part) * a + part * b for a, b in zip(first.config[key], second.config[key])]
    config["training"] = dict(config.get("training", {}))
    config["training"]["averaged"] = [
        {"sha256": first.sha256, "share": 1 - share, "tower_share": 1 - tower_share},
        {"sha256": second.sha256, "share": share, "tower_share": tower_share},
    ]
    return tensors, second.metadata | {"config": json.dumps(config, separators=(",", ":"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="FIRST", type=pathlib.Path)
    parser.add_argument("second", metavar="SECOND", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    parser.add_argument("--tower-share", type=float, help="likewise, of all but the reader and the residuals (default: --share)")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    tower_share = args.share if args.tower_share is None else args.tower_share
    tensors, metadata = average(AdapterFile(args.first), AdapterFile(args.second), args.share, tower_share)
    safetensors.numpy.save_file(tensors, args.out, metadata)


if __name__ == "__main__":
    main()
