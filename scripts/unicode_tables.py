#!/usr/bin/env python3
"""Writes msa/text/unicode_tables.cc: what the tokenizers must know of Unicode.

    .venv/bin/python scripts/unicode_tables.py > msa/text/unicode_tables.cc

A model's tokens depend on which Unicode version each part of Hugging Face's `tokenizers` was built
with: its regular expressions, Rust's own char methods and its normaliser all differ. So the library
itself is asked about every code point; Python's unicodedata only proposes. The result changes when
`tokenizers` moves to a newer Unicode, which tests/tokenizer_parity.py then reports.
"""

import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
NFC = normalizers.NFC().normalize_str


def matching(pattern):
    erase = normalizers.Replace(Regex(pattern), "")
    return {c for c in CODE_POINTS if erase.normalize_str(chr(c)) == ""}


def char_classes():
    """Code point -> class, as char_class.h names them."""
    classes = {c: "kLetter" for c in matching(r"\p{L}")}
    classes |= {c: "kSpace" for c in matching(r"\s")}
    numbers = matching(r"\p{N}")
    split = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str
    digits = {c for c in CODE_POINTS if len(split("a" + chr(c) + "a")) == 3}
    assert numbers <= digits and not digits & classes.keys()
    return classes | {c: "kNumber" if c in numbers else "kDigitOnly" for c in digits}


def decompositions():
    """(code point, first, second or 0, whether the two compose again)."""
    for c in CODE_POINTS:
        mapping = unicodedata.decomposition(chr(c))
        if not mapping or mapping.startswith("<"):
            continue
        parts = [int(part, 16) for part in mapping.split()]
        if len(parts) == 1:
            assert NFC(chr(c)) == NFC(chr(parts[0]))
            yield c, parts[0], 0, False
            continue
        joined = NFC(chr(parts[0]) + chr(parts[1]))
        composes = joined == chr(c)
        if NFC(chr(c)) != chr(c) or composes:  # else the normaliser is older than this character
            yield c, *parts, composes


def combining_classes():
    """Code point -> canonical combining class, where the normaliser knows it: it then moves the
    character before or behind a mark of another class."""
    probes = {1: "\u0334", 230: "\u0301"}
    for c in CODE_POINTS:
        value = unicodedata.combining(chr(c))
        if not value or len(NFC(chr(c))) != 1 or NFC(chr(c)) != chr(c):
            if value:  # U+0340 and the like are replaced before classes matter
                yield c, value
            continue
        other, mark = next((k, m) for k, m in probes.items() if k != value)
        text = chr(c) + mark if other < value else mark + chr(c)
        if NFC("\u0378" + text) != "\u0378" + text:  # U+0378: unassigned, composes with nothing
            yield c, value


def ranges(values):
    """Runs of equal values: [(first, last, value)]."""
    runs = []
    for c, value in sorted(values.items()):
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == value:
            runs[-1][1] = c
        else:
            runs.append([c, c, value])
    return runs


def table(declaration, rows):
    print(f"\nconst {declaration}[] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 100:
            print(line)
            line = "   "
        line += f" {row},"
    print(line)
    print("};")


def main():
    classes = ranges(char_classes())
    combining = ranges(dict(combining_classes()))
    mappings = list(decompositions())
    print("// Written by scripts/unicode_tables.py from the Python package tokenizers")
    print(f"// {tokenizers.__version__} and unicodedata {unicodedata.unidata_version}. "
          "Do not edit.")
    print("// clang-format off")
    print('#include "msa/text/unicode_tables.h"')
    print("\nnamespace msa::unicode {")
    print("namespace {")
    print("\nusing enum CharClass;")
    table("ClassRange kClasses", (f"{{{a:#x}, {b:#x}, {v}}}" for a, b, v in classes))
    table("CombiningRange kCombining", (f"{{{a:#x}, {b:#x}, {v}}}" for a, b, v in combining))
    table("Decomposition kDecompositions",
          (f"{{{c:#x}, {a:#x}, {b:#x}, {int(ok)}}}" for c, a, b, ok in mappings))
    print("\n}  // namespace\n")
    print("std::span<const ClassRange> Classes() { return kClasses; }")
    print("std::span<const CombiningRange> CombiningClasses() { return kCombining; }")
    print("std::span<const Decomposition> Decompositions() { return kDecompositions; }")
    print("\n}  // namespace msa::unicode")
    print("// clang-format on")
    print(f"{len(classes)} classes, {len(combining)} combining, {len(mappings)} decompositions",
          file=sys.stderr)


if __name__ == "__main__":
    main()
