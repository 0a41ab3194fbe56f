#!/usr/bin/env bash
# onnxruntime: quant_pre_process of a model in memory takes the weights out of the caller's model (with skip_symbolic_shape).
#
# The function is given a ModelProto and writes the prepared model to a file. On the way it saves the ModelProto with external data
# into a folder of its own, which also replaces the weights in the caller's object by references, and deletes the folder. The model
# that was handed in cannot be used afterwards, for example to compare float and quantised answers. (quantize_static did the same
# until it began to copy.) Way out: give a path, or a copy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"

cat > show.py <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
node = helper.make_node("MatMul", ["x", "w"], ["y"])
graph = helper.make_graph([node], "one_layer", [x], [y], [numpy_helper.from_array(weights, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def runs():
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return "runs"


def state():
    size = "more" if len(model.SerializeToString()) > weights.nbytes else "less"
    try:
        return f"{size} bytes than its weights, {runs()}"
    except Exception:
        return f"{size} bytes than its weights, does not run"


print("before:", state())
quant_pre_process(model, "prepared.onnx", skip_symbolic_shape=True)
print("after:", state())
PYTHON
cat > expected.txt <<'TEXT'
before: more bytes than its weights, runs
after: less bytes than its weights, does not run
TEXT
venv/bin/python -c "import onnxruntime; print('onnxruntime', onnxruntime.__version__)"
venv/bin/python show.py > seen.txt 2> errors.txt || cat errors.txt
cat seen.txt
diff expected.txt seen.txt && echo "as expected: the caller's model has lost its weights"
