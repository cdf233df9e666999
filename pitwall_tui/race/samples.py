"""Samples of quality, taken together."""

from collections.abc import Iterable

from engine.stats import QualitySample

_NONE = QualitySample(0, 0.0, 0, 0, 0)


def summed(samples: Iterable[QualitySample]) -> QualitySample:
    """Several samples as one."""
    every = [(s.tokens, s.kl, s.top1, s.clear, s.clear_top1) for s in samples]
    return QualitySample(*map(sum, zip(*every, strict=True))) if every else _NONE
