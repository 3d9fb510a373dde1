"""Preparing speech, against what its calls into pyworld and librosa take by themselves on one thread."""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from seqviews.augment.world import FRAME_MS, VoiceConverter
from seqviews.pipeline.datasets.timit.sphere import read_utterance
from seqviews.pipeline.datasets.timit.tree import assign_splits, find_utterances
from seqviews.pipeline.sources.audio import log_mel

RATE, VOICES, WORKERS = 16_000, 4, 2

# a process counts as its own what its parent held when it was started: hence one in between that holds little
LAUNCHER = """
import resource, subprocess, sys
failed = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(failed)
"""


def bench_speech(timit: Path) -> dict[str, Any]:
    """Wall time of `prepare_timit` with two workers, imports included, over half of its calls' time, one after another.

    `largest_process_mb` is the largest resident set of any process of the preparation.

    Raises:
        ValueError: If there is no utterance of a split in the folder.
        subprocess.CalledProcessError: If the preparation fails; it says why on stderr.
    """
    tree = find_utterances(timit)
    splits = assign_splits(tree)
    seconds: defaultdict[str, float] = defaultdict(float)
    speech = 0.0
    with threadpool_limits(1):  # numpy's matrix products would take both cores
        for utterance in tree.utterances:
            if utterance.speaker in splits:
                wave = read_utterance(utterance.file)
                speech += len(wave) / RATE
                _time_calls(wave, seconds)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "seqviews.tools.prepare_timit", f"--timit={timit}", f"--out={out}/timit"]
        command += [f"--voices={VOICES}", f"--workers={WORKERS}"]
        done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], check=True, stdout=subprocess.PIPE)
    wall, calls = time.perf_counter() - started, sum(seconds.values())
    return {
        "speech_seconds": round(speech),
        "prepare_seconds": round(wall, 1),
        "call_seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio": round(wall / (calls / WORKERS), 2),
        "largest_process_mb": int(done.stdout) // 1024,
    }


def _time_calls(wave: NDArray[np.float32], seconds: defaultdict[str, float]) -> None:
    """The calls of one utterance: analysis once, synthesis and mels once a voice; mels once more for the statistics."""
    import pyworld

    def timed(name: str, call: Callable[..., Any], *arguments: Any, **options: float) -> Any:
        started = time.perf_counter()
        result = call(*arguments, **options)
        seconds[name] += time.perf_counter() - started
        return result

    x = wave.astype(np.float64)
    coarse, times = timed("pitch", pyworld.dio, x, RATE, frame_period=FRAME_MS)
    f0 = timed("pitch", pyworld.stonemask, x, coarse, times, RATE)
    envelope = timed("envelope", pyworld.cheaptrick, x, f0, times, RATE)
    aperiodicity = timed("aperiodicity", pyworld.d4c, x, f0, times, RATE)
    for seed in range(VOICES):
        moved = np.where(f0 > 0, np.exp(VoiceConverter().draw(seed).log_f0), 0.0)
        voice = timed("synthesis", pyworld.synthesize, moved, envelope, aperiodicity, RATE, FRAME_MS)
        timed("mels", log_mel, voice[: len(wave)].astype(np.float32))
    for _ in range(2):
        timed("mels", log_mel, wave)
