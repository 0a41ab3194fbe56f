"""What quantised networks answer on analog chips: digital accuracy, and that of hardware presets, fresh and a day old.

The first layer is on the digital units, ADC ranges and biases are calibrated on the first images without their labels.

    python benchmarks/accuracy.py --data FOLDER [--work FOLDER] [--images 1000] [--chips 1] [--only NAME;...]

FOLDER holds mlperf-tiny/, kws01/, cifar10-jpeg/ and resnet20-cifar10-jpeg-finetuned/; networks whose files are missing
are left out. Every case that is done is a row of accuracy.csv in the work folder; what is there is not run again.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import imcsim
from imcsim.functional.accuracy import wilson
from imcsim.workload.datasets import load_dataset
from imcsim.workload.quantised import load_quantised

ROOM = {"chip.n_tiles": 256}  # so that all weights stay resident
FIRST = {"on_digital": "first"}
CHIPS = {  # name in the table -> hardware preset, what is changed, options of the scheme
    "rram-256": ("rram-256", ROOM, FIRST),
    "isaac": ("isaac", {}, FIRST),
    "neurram": ("neurram", {}, FIRST),
    "hermes-64": ("hermes-64", {}, FIRST),
    "rram-256, all layers on crossbars": ("rram-256", ROOM, {}),
}
BIAS_IMAGES = 20
SCHEME = "static"
DAY_S = 86_400.0
CALIBRATION_IMAGES = 50
SHIPPED = Path(__file__).parents[1] / "workloads" / "models"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BYTES = ((0.0,), (1 / 255,))
AS_IT_IS = ((0.0,), (1.0,))


@dataclass(frozen=True)
class Case:
    """A network, its data, and how pixels are scaled; ``digital``: how many of all images the exact network answers."""

    name: str
    model: Path
    data: Path
    scale: tuple[tuple[float, ...], tuple[float, ...]]
    digital: int


def cases(data: Path, work: Path) -> list[Case]:
    """The networks whose files are there."""
    cifar = data / "cifar10-jpeg" / "cifar10_jpeg_test.tar.xz"
    pictures = work / "cifar_test.npz"
    found = [
        Case("DS-CNN, int8, keywords", data / "mlperf-tiny" / "kws_ref_model.tflite",
             data / "kws01" / "kws01_mfcc_int8.npz", AS_IT_IS, 1000),
        Case("ResNet-8, int8, CIFAR-10 (JPEG q75 copy)", data / "mlperf-tiny" / "pretrainedResnet_quant.tflite",
             pictures, BYTES, 10_000),
        Case("ResNet-20, int8, CIFAR-10 (JPEG q75 copy)",
             data / "resnet20-cifar10-jpeg-finetuned" / "resnet20_jpegft_int8_qdq.onnx", pictures, IMAGENET, 10_000),
        Case("ResNet-8, int8, Fashion-MNIST", SHIPPED / "resnet8_fashion.onnx", SHIPPED / "fashion_mnist_1000.npz",
             AS_IT_IS, 1000),
    ]  # fmt: skip
    if cifar.exists() and not pictures.exists():
        _unpack(cifar, pictures)
    return [case for case in found if case.model.exists() and case.data.exists()]


def _unpack(archive: Path, target: Path) -> None:
    """All pictures of the archive in a fixed random order; the label is the folder, in alphabetical order."""
    images, names = [], []
    with tarfile.open(archive) as tar:
        for member in sorted((m for m in tar if m.name.endswith(".jpg")), key=lambda m: m.name):
            file = tar.extractfile(member)
            assert file is not None
            images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")).transpose(2, 0, 1))
            names.append(Path(member.name).parent.name)
    order = np.random.default_rng(0).permutation(len(images))
    labels = np.unique(names, return_inverse=True)[1]
    np.savez_compressed(target, images=np.stack(images)[order], labels=labels[order])


def digital(case: Case) -> dict[str, object]:
    """The network in exact integers, over all of its images."""
    network, data, start = load_quantised(case.model), load_dataset(case.data).first(case.digital), time.perf_counter()
    pixels = network.pixels(data, *case.scale)
    parts = [slice(i, i + 100) for i in range(0, len(pixels), 100)]
    right = sum(int((network.run(pixels[p]).argmax(-1).ravel() == data.labels[p]).sum()) for p in parts)
    low, high = wilson(right, len(pixels))
    return {"network": case.name, "hardware": "digital", "device": "", "images": len(pixels), "chips": 1, "age_s": 0.0,
            "accuracy": right / len(pixels), "low": low, "high": high, "worst_chip": right / len(pixels),
            "agreement": 1.0, "seconds": time.perf_counter() - start}  # fmt: skip


def analog(case: Case, chip: str, images: int, chips: int, work: Path) -> list[dict[str, object]]:
    """The network on a chip with its own device and calibrated converters: freshly written, and a day later."""
    start, (preset, overrides, options) = time.perf_counter(), CHIPS[chip]
    model, data, (mean, std) = str(case.model), str(case.data), case.scale
    ranges = work / f"{case.model.stem}-{chip}.json"
    found = imcsim.calibrate(
        model,
        imcsim.Preset(preset, overrides),
        data,
        images=CALIBRATION_IMAGES,
        scheme=SCHEME,
        options=options,
        mean=mean,
        std=std,
    )
    found.write(ranges)
    fresh = imcsim.load_hardware(preset).cell.device.earliest_s
    trial = imcsim.Trial(
        model, data, images, mean, std, ages_s=(fresh, DAY_S), compensation="global", chips=chips,
        calibration_file=ranges, bias_images=BIAS_IMAGES, journal=work / "unfinished",
    )  # fmt: skip
    values = imcsim.run(model, imcsim.Preset(preset, overrides), SCHEME, options=options, trial=trial).summary["values"]
    took = time.perf_counter() - start
    rows = []
    for age_s in (fresh, DAY_S):
        found = [chip for chip in values["chips"] if chip["age_s"] == age_s]
        mean = float(np.mean([chip["accuracy_frac"] for chip in found]))
        low, high = wilson(mean * images, images)
        rows.append({
            "network": case.name, "hardware": chip, "device": values["device"]["kind"], "images": images,
            "chips": chips, "age_s": age_s, "accuracy": mean, "low": low, "high": high,
            "worst_chip": min(chip["accuracy_frac"] for chip in found),
            "agreement": float(np.mean([chip["agreement_frac"] for chip in found])), "seconds": took,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("imcsim-accuracy"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--chips", type=int, default=1)
    parser.add_argument("--only", default="", help="chips, and 'digital', by semicolons")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    table = given.work / "accuracy.csv"
    done = pd.read_csv(table) if table.exists() else pd.DataFrame(columns=["network", "hardware"])
    wanted = given.only.split(";") if given.only else ["digital", *CHIPS]
    for hardware in wanted:
        for case in cases(given.data, given.work):
            if ((done["network"] == case.name) & (done["hardware"] == hardware)).any():
                continue
            rows = [digital(case)] if hardware == "digital" else analog(
                case, hardware, given.images, given.chips, given.work
            )  # fmt: skip
            done = pd.concat([done, pd.DataFrame(rows)]) if len(done) else pd.DataFrame(rows)
            done.to_csv(table, index=False)
            print(pd.DataFrame(rows).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
