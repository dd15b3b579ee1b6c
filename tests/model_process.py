"""msa_model_tool as a Python object; its protocol is in tests/tools/model_tool.cc."""

import json
import os
import subprocess

import numpy as np


class ModelError(Exception):
    pass


class ModelProcess:
    """One loaded model. Use as a context manager."""

    def __init__(self, build_dir, path, **options):
        tool = build_dir / "bin" / "msa_model_tool"
        assert tool.is_file(), f"{tool} is not built"
        options.setdefault("weights", "f32")
        options.setdefault("device", os.environ.get("MSA_TEST_DEVICE", "cpu"))
        options.setdefault("threads", 1)  # models this small only lose by more
        self.process = subprocess.Popen([tool, str(path), json.dumps(options)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.read()
        except ModelError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __call__(self, op, **arguments):
        """The answer's fields, arrays among them by name."""
        self.process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        return self.read()

    def read(self):
        line = self.process.stdout.readline()
        assert line, f"msa_model_tool ended with status {self.process.wait()}"
        answer = json.loads(line)
        if answer.get("error"):
            raise ModelError(answer["error"])
        for name, shape in answer.pop("arrays"):
            size = int(np.prod(shape))
            answer[name] = np.frombuffer(self.process.stdout.read(4 * size), np.float32).reshape(shape)
        return answer
