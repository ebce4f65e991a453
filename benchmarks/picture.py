"""Results as a picture: how many times faster than Keras everybody is, shape by shape."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.peers import PEERS
from benchmarks.report import KERAS, OURS, RIVALS, median

_RIVAL_COLORS = zip(RIVALS, ("#edae49", "#00798c", "#30638e"), strict=True)
_COLORS = {OURS: "#d1495b", KERAS: "#9aa5b1", **dict(_RIVAL_COLORS)}
_BAR = 0.16


def draw_speed_ups(records: list[dict], path: Path):
    """Draws the records that have a time for Keras, one panel a mode, as a PNG."""
    figure, panels = plt.subplots(2, 1, figsize=(9, 6.4), layout="constrained")
    for mode, axes in zip(("inference", "training"), panels, strict=True):
        chosen = [r for r in records if r["mode"] == mode and median(r, KERAS)]
        peers = [p for p in _COLORS if any(median(r, p) for r in chosen)]
        for place, peer in enumerate(peers):
            _draw_bars(axes, chosen, peer, place - (len(peers) - 1) / 2)
        axes.axhline(1, color=_COLORS[KERAS], linewidth=1, zorder=0)
        axes.set_xticks(range(len(chosen)), [r["name"].replace(" F", "\nF") for r in chosen])
        axes.set_title({"inference": "Inference", "training": "Training step"}[mode], loc="left")
        axes.set_ylabel("times as fast as Keras")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.12)
    panels[0].legend(ncols=len(_COLORS), frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_bars(axes, records, peer, offset):
    bars = [
        (place + offset * _BAR, median(r, KERAS) / median(r, peer))
        for place, r in enumerate(records)
        if median(r, peer)
    ]
    drawn = axes.bar(*zip(*bars, strict=True), _BAR, color=_COLORS[peer], label=PEERS[peer])
    if peer == OURS:
        axes.bar_label(drawn, fmt="%.1f", fontsize=8, padding=1)
