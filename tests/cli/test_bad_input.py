"""Does every mistake end with exit code 2 and one clear sentence, and leave nothing half-written?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Outcome

BAD = Path(__file__).parents[1] / "bad"
CASES = yaml.safe_load((BAD / "cli" / "cases.yaml").read_text())
PRESETS = sorted((BAD / "hardware").glob("*.yaml"))
Command = Callable[..., Outcome]


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_sentence(name: str, imcsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args, says = (CASES[name][key].format(bad=BAD / "cli") for key in ("args", "says"))
    outcome = imcsim(*args.split())
    assert outcome.code == 2
    assert outcome.out == ""
    assert says in outcome.err
    assert outcome.err.count("\n") == 1
    assert any(word in outcome.err for word in ("; ", "must be", "expected")), "a suggestion is missing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_bad_preset_is_refused(path: Path, imcsim: Command) -> None:
    outcome = imcsim("explain", str(path))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert path.name in outcome.err or "bad: " in outcome.err, "neither the file nor the preset is named"


def test_a_word_that_is_no_command_is_refused(imcsim: Command) -> None:
    outcome = imcsim("rnu")
    assert outcome.code == 2
    assert "Did you mean 'run'?" in outcome.err


def test_no_traceback_reaches_the_terminal(start: Callable[..., subprocess.Popen[str]]) -> None:
    out, err = (process := start("run", "resnet5", "--hardware", "rram-256")).communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("imcsim: resnet5: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "vgg19", "--hardware", "rram-256", "--engine", "simpy"),
        ("compare", "vgg19", "--hardware", "rram-256", "--batch", "16"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("after_s", [0.5, 4.0])
def test_an_interrupt_leaves_nothing(
    words: tuple[str, ...], after_s: float, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(*words, "--out", "runs")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all processes of the command
    out, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)  # one for a shell; under -m an interrupted exec() is -SIGINT
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []
