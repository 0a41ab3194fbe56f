#!/usr/bin/env bash
# onnxruntime: in a network quantised per channel, an output channel with nearly pruned weights can change its sign.
#
# The int32 bias has the scale of the input times that of the channel's weights. Where the weights are so small that the bias would
# not fit, quantize_static enlarges their scale until it just does: to 2,147,268,885, 0.01 % below the largest int32. The products are
# added to the same int32, and a few hundred of them pass the rest: the sum wraps around, and 1.0015 becomes -0.9987. The same file is
# right without graph optimisations, because bias and products are then added as floats. The layer is valid, and the other channel is
# not affected. Way out: set weights that are too small to matter to 0 before quantising; the scale is then 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"

cat > show.py <<'PYTHON'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

ROWS = 576  # inputs, as of a 3x3 kernel on 64 channels
rng = np.random.default_rng(0)
images = [rng.random((1, ROWS), dtype=np.float32) for _ in range(4)]


class Reader(quantization.CalibrationDataReader):
    def __init__(self):
        self.left = iter(images)

    def get_next(self):
        return next(({"x": image} for image in self.left), None)


def write(smallness):
    """One linear layer of two channels, both with a bias of 1; weights of the second are as small as that."""
    weights = rng.random((ROWS, 2), dtype=np.float32) * np.float32([1, smallness])
    x, y = (helper.make_tensor_value_info(*of) for of in (("x", TensorProto.FLOAT, [1, ROWS]), ("y", TensorProto.FLOAT, [1, 2])))
    constants = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.float32([1, 1]), "b")]
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "linear", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), "float.onnx")
    quantization.quantize_static(
        "float.onnx", "int8.onnx", Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )


def second(path, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": images[0]})[0][0, 1]


every, none = ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL
for smallness in (1e-3, 1e-5, 0.0):
    write(smallness)
    answers = [second("float.onnx", every), second("int8.onnx", none), second("int8.onnx", every)]
    print(f"weights x {smallness:g}: float {answers[0]:.2f}, int8 not optimised {answers[1]:.2f}, int8 {answers[2]:.2f}")
PYTHON
cat > expected.txt <<'TEXT'
weights x 0.001: float 1.15, int8 not optimised 1.15, int8 1.15
weights x 1e-05: float 1.00, int8 not optimised 1.00, int8 -1.00
weights x 0: float 1.00, int8 not optimised 1.00, int8 1.00
TEXT
venv/bin/python -c "import onnxruntime; print('onnxruntime', onnxruntime.__version__)"
venv/bin/python show.py > seen.txt 2> errors.txt || cat errors.txt
cat seen.txt
diff expected.txt seen.txt && echo "as expected: the int32 sum of the second channel wraps around"
