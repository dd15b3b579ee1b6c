"""A folder uses only the folders above it in the map (docs/architecture.md); the failure names file, line and folder.

CMake already refuses to link against a lower folder; this also catches a header-only include, which links nothing.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What each folder of msa/ may include. `text`, `kernels` and `bank` use none of each other.
ALLOWED = {
    "base": {"base"},
    "text": {"base", "text"},
    "kernels": {"base", "kernels"},
    "bank": {"base", "bank"},
    "model": {"base", "text", "kernels", "bank", "model"},
    "train": {"base", "text", "kernels", "bank", "model", "train"},
    "cluster": {"base", "text", "kernels", "bank", "model", "train", "cluster"},
    "engine": {"base", "text", "kernels", "bank", "model", "train", "cluster", "engine"},
    "eval": {"base", "text", "kernels", "bank", "model", "train", "cluster", "engine", "eval"},
    "serve": {"base", "text", "kernels", "bank", "model", "train", "cluster", "engine", "serve"},
    "cli": {"base", "text", "kernels", "bank", "model", "train", "cluster", "engine", "eval", "serve", "cli"},
}
# These build without libtorch.
TORCH_FREE = {"base", "text", "kernels", "bank"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
TORCH_HEADER = re.compile(r"(torch|ATen|c10|caffe2)/")


def violations(root):
    """Returns 'file:line: reason' for each include in root/msa that the map forbids."""
    found = []
    for source in sorted((root / "msa").glob("*/**/*")):
        if source.suffix not in {".h", ".cc", ".cu", ".cuh"}:
            continue
        folder = source.relative_to(root / "msa").parts[0]
        for number, line in enumerate(source.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            reason = match and forbidden(folder, match[2])
            if reason:
                found.append(f"{source.relative_to(root)}:{number}: {reason}")
    return found


def forbidden(folder, header):
    if folder not in ALLOWED:
        return f"folder msa/{folder} is not in the map; add it to tests/layers_test.py and docs/architecture.md"
    if TORCH_HEADER.match(header) and folder in TORCH_FREE:
        return f"{folder} includes {header}, but builds without libtorch"
    parts = header.split("/")
    if parts[0] != "msa" or len(parts) < 3:
        return f"{folder} includes msa/msa.h, which is for users" if header == "msa/msa.h" else None
    if parts[1] not in ALLOWED[folder]:
        return f"{folder} includes {header}, but may use only {', '.join(sorted(ALLOWED[folder]))}"
    return None


def test_folders_include_only_folders_above_them():
    assert not violations(ROOT), "\n" + "\n".join(violations(ROOT))


def test_wrong_includes_are_named(tmp_path):
    files = {
        "msa/bank/good.cc": '#include "msa/base/status.h"\n#include <vector>\n',
        "msa/bank/bad.cc": '// why\n#include "msa/model/backbone.h"\n',
        "msa/text/torch.cc": "#include <ATen/ATen.h>\n",
        "msa/kernels/cpu/sideways.h": '#  include "msa/text/loader.h"\n',
        "msa/attic/x.cc": '#include "msa/base/status.h"\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [line.split(": ")[0] for line in violations(tmp_path)] == [
        "msa/attic/x.cc:1",
        "msa/bank/bad.cc:2",
        "msa/kernels/cpu/sideways.h:1",
        "msa/text/torch.cc:1",
    ]
