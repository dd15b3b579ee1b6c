#!/usr/bin/env python3
"""Writes models/DATA.md: every source of a pack with its licence, what was used of it, and the hash of its file.

    msa train pack … --json > pack.json
    scripts/data_card.py pack.json SOURCES.md > models/DATA.md

SOURCES.md has a Markdown table with the columns `name`, `what it is` and `licence`, a row a source.
"""

import json
import pathlib
import sys

COLUMNS = ("name", "what it is", "licence")


def read_table(text):
    """{name: {column: value}} of the table that has the columns asked for."""
    rows = {}
    header = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            header = None
        elif header is None and all(column in cells for column in COLUMNS):
            header = cells
        elif header and len(cells) == len(header) and not set(line) <= set("|-: "):
            row = dict(zip(header, cells))
            rows[row["name"]] = row
    return rows


def card(report, table):
    kinds = report["questions_by_kind"]
    made = kinds["cut"] + kinds["quotation"] + kinds["blank"] + kinds["mention"]
    yield "# Training data"
    yield ""
    yield "What the token pack of the shipped adapter was made of; written by `scripts/data_card.py` from the report of"
    yield "`msa train pack`. The text itself is not part of the project. All sources allow commercial use."
    yield ""
    yield f"{report['documents']:,} documents, {report['passages']:,} passages, {report['tokens']:,} tokens; {report['questions']:,} questions:"
    yield f"{kinds['standalone']:,} of pairs that make sense alone, {kinds['in_context']:,} of pairs that need their document, and {made:,} made from"
    yield f"passages ({kinds['cut']:,} sentences cut, {kinds['quotation']:,} quotations, {kinds['blank']:,} blanks, {kinds['mention']:,} mentions)."
    yield ""
    yield "- **rows**: read of the file; of a source with a limit, those taken at random until it had its tokens"
    yield "- **passages, tokens**: put into the pack. The text of a pair that a corpus has already counts there"
    yield "- **questions**: of pairs, those kept; of corpora, those made"
    yield "- **dropped**: duplicates (rows) + overlap with evaluation sets (passages of corpora, rows of pairs)"
    for kind, title in (("corpus", "Corpora"), ("pairs", "Pairs")):
        yield ""
        yield f"## {title}"
        yield "| source | what | licence | rows | passages | tokens | questions | dropped | sha256 of the file |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        for source in (s for s in report["sources"] if s["kind"] == kind):
            row = table[source["name"]]
            dropped = f"{source['dropped_duplicates']} + {source['dropped_overlap']}"
            cells = [source["name"], row["what it is"], row["licence"], source["rows"], source["passages"]]
            cells += [source["tokens"], source["questions"], dropped, f"`{source['sha256']}`"]
            yield "| " + " | ".join(map(str, cells)) + " |"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    table = read_table(pathlib.Path(sys.argv[2]).read_text())
    absent = [source["name"] for source in report["sources"] if source["name"] not in table]
    if absent:
        sys.exit(f"data_card: error: {sys.argv[2]} has no row for {', '.join(absent)}")
    print("\n".join(card(report, table)))


if __name__ == "__main__":
    main()
