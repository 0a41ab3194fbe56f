"""Time and memory of whole commands, each in a process of its own, against stated goals; exits with 1 on a miss.

Usage: python benchmarks/whole_run.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time

from goals import report

GOAL_ENGINE_S = 1.0  # ResNet-50, one image, one event per vector and stage, warm
GOAL_COMMAND_S = 4.0  # the same as a whole warm command, report and trace file included
GOAL_HELP_S = 0.5  # the page of `imcsim --help`, in a fresh process
GOAL_PEAK_GIB = 2.0  # VGG-19, batch 16, as a whole command

LARGER = ("--set", "chip.n_tiles=9216", "--set", "chip.noc.columns=96")  # 73,728 crossbars hold VGG-19

ENGINE_ONLY = """
import json, time
from imcsim import load_hardware, load_workload
from imcsim.timing.compile import compile_plan
from imcsim.experiments.run import plan_for
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine
from imcsim.timing.recipes import Context

spec = RunSpec(load_workload("resnet50"), load_hardware("rram-16k"), "static")
(job,) = compile_plan(plan_for(spec), Context(spec.hardware, spec.workload), 1).jobs
seconds = []
for _ in range(6):
    begin = time.perf_counter()
    result = engine.run(job, 1)
    seconds.append(time.perf_counter() - begin)
tasks = sum(times.start_ps.size for times in result.times)
print(json.dumps({"tasks": tasks, "seconds": sorted(seconds[1:])[2]}))
"""


def engine_run() -> dict[str, float]:
    """Tasks of the run, and the median of five after one that compiles."""
    done = subprocess.run([sys.executable, "-c", ENGINE_ONLY], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def command_s(*words: str) -> float:
    """Seconds of one ``imcsim run`` with its report written to a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        words = (sys.executable, "-m", "imcsim", "run", *words, "--out", folder)
        subprocess.run(words, check=True, capture_output=True)
        return time.perf_counter() - begin


def help_s() -> float:
    """The least time of three to print the help."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "imcsim", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> int:
    warm = engine_run()
    resnet = ("resnet50", "--hardware", "rram-16k", "--scheme", "static")
    command_s(*resnet)  # compiles the kernels where no cache is
    whole = sorted(command_s(*resnet) for _ in range(3))[1]
    command_s("vgg19", "--hardware", "rram-16k", *LARGER, "--scheme", "static", "--batch", "16")
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # the largest of all children
    met = [
        report("imcsim --help", help_s(), "s", GOAL_HELP_S, at_least=False),
        report(f"ResNet-50 static, {warm['tasks']:,.0f} tasks", warm["seconds"], "s", GOAL_ENGINE_S, at_least=False),
        report("ResNet-50 static, whole command", whole, "s", GOAL_COMMAND_S, at_least=False),
        report("VGG-19 static, batch 16, peak memory", peak_gib, "GiB", GOAL_PEAK_GIB, at_least=False),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
