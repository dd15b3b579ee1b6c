"""Runs the `msa` command and checks its exit status (docs/cli.md)."""

import json
import subprocess

DONE, FAILED, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130


class Command:
    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments, stdin=None, status=DONE):
        """`status` is the exit status it must have, or a tuple of those it may have."""
        run = subprocess.run(
            [self.program, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=600
        )
        expected = status if isinstance(status, tuple) else (status,)
        assert run.returncode in expected, f"{arguments}: exit status {run.returncode}\n{run.stdout}{run.stderr}"
        return run

    def json(self, *arguments, **options):
        """The objects that `--json` prints, one a line."""
        return [json.loads(line) for line in self(*arguments, "--json", **options).stdout.splitlines()]
