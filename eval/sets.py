"""Reads sets of questions: folders of docs, queries and qrels (docs/evaluation.md)."""

import io
import json


def rows(folder, name):
    """Of NAME.jsonl or NAME.jsonl.zst."""
    path = next(p for p in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.zst") if p.exists())
    with open(path, "rb") as file:
        raw = file
        if path.suffix == ".zst":
            import zstandard

            raw = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)
        yield from map(json.loads, io.TextIOWrapper(raw, "utf-8"))
