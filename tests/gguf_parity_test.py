"""The GGUF reader expands every tensor type to the bits that the `gguf` package gives."""

import subprocess

import gguf
import numpy as np
import pytest

SEED = 7
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"]
# Where a block's f16 scales stand. Random bits there would mostly be huge or NaN, which hides
# errors of the rest.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208]}


def read_dump(build_dir, path):
    """name -> (type, shape, f32 array), as msa_gguf_dump prints them."""
    tool = build_dir / "bin" / "msa_gguf_dump"
    assert tool.is_file(), f"{tool} is not built"
    done = subprocess.run([tool, path], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    tensors, at = {}, 0
    while at < len(done.stdout):
        end = done.stdout.index(b"\n", at)
        name, kind, *dims = done.stdout[at:end].decode().split(" ")
        shape = tuple(map(int, dims))
        count = int(np.prod(shape))
        tensors[name] = kind, shape, np.frombuffer(done.stdout, np.uint32, count, end + 1)
        at = end + 1 + 4 * count
    return tensors


def random_blocks(rng, kind, rows, blocks_a_row):
    """Blocks of random bytes, with scales of sound size and either sign."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * blocks_a_row, block_bytes), dtype=np.uint8)
    for offset in SCALES[kind.name]:
        scales = rng.normal(0, 2, len(blocks)).astype(np.float16)
        scales[::17] = 0
        scales[1::17] = -0.0
        scales[2::17] = 6e-8  # subnormal
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, blocks_a_row * block_bytes)


def tensors_of(rng, name):
    """Raw data of a type: from its own quantizer where there is one, and of random bits."""
    kind = gguf.GGMLQuantizationType[name]
    values = rng.normal(0, 1, (3, 5, 512)).astype(np.float32)
    values[0, 0, :32] = 0
    try:
        yield gguf.quants.quantize(values, kind)
    except NotImplementedError:
        assert name in ("Q4_K", "Q6_K")
    if name in SCALES:
        yield random_blocks(rng, kind, 40, 3)
    elif name == "F32":
        yield rng.integers(0, 2**32, (16, 64), dtype=np.uint32).view(np.float32)
    else:
        every = np.arange(2**16, dtype=np.uint16).reshape(16, -1)
        yield every.view(np.float16) if name == "F16" else every.view(np.uint8)


@pytest.mark.parametrize("name", TYPES)
def test_tensors_equal_the_gguf_package_bit_for_bit(build_dir, tmp_path, name):
    rng = np.random.default_rng(SEED)
    kind = gguf.GGMLQuantizationType[name]
    path = tmp_path / "tensors.gguf"
    writer = gguf.GGUFWriter(path, "test")
    for i, data in enumerate(tensors_of(rng, name)):
        writer.add_tensor(f"tensor.{i}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    found = read_dump(build_dir, path)
    expected = gguf.GGUFReader(path).tensors
    assert len(found) == len(expected) > 0
    for tensor in expected:
        kind_name, shape, bits = found[tensor.name]
        assert kind_name == name
        assert shape == tuple(int(n) for n in reversed(tensor.shape))
        values = gguf.quants.dequantize(tensor.data, kind).reshape(-1)
        nan = np.isnan(values)  # a NaN may be made quiet on the way
        assert np.isnan(bits.view(np.float32)[nan]).all()
        np.testing.assert_array_equal(bits[~nan], values.view(np.uint32)[~nan])


def test_the_default_model_is_read_as_the_gguf_package_reads_it(build_dir):
    import tokenizer_models
    found = read_dump(build_dir, tokenizer_models.SMOLLM2_GGUF)
    expected = gguf.GGUFReader(tokenizer_models.SMOLLM2_GGUF).tensors
    assert set(found) == {t.name for t in expected}
    for tensor in expected[::7]:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
        np.testing.assert_array_equal(found[tensor.name][2], values.view(np.uint32))
