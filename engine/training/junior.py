"""One distillation's options, and the shape of a new student."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from engine.config import EngineError
from engine.training.settings import RECIPES, Recipe, Shape, TrainSettings

HEAD_SIZE = 64
_FFN_STEP = 128  # the native kernels' groups
RECIPE = replace(
    RECIPES["chief"],
    name="junior",
    rows_per_step=16,
    tokens=200_000_000,
    held_out_tokens=100_000,
)


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """One run. The student is a folder's model where `student` is given, else a new one.

    The budget is `minutes` of training where given, else `tokens`, else the recipe's.
    """

    teacher: Path
    out: Path
    student: Path | None = None
    layers: int = 2
    hidden: int = 512
    temperature: float = 2.0
    alpha: float = 0.9
    data: str = "simulator"  # or "teacher": it writes `written_tokens`, read again and again
    written_tokens: int = 200_000
    drafts: int = 0  # body tokens that the student writes for a last pass
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 8  # not the chief's: documents that the teacher has not seen
    device: str = "auto"
    workers: int = 1
    checkpoint: Path | None = None
    checkpoint_minutes: float = 5.0
    compile: bool = True
    recipe: Recipe = RECIPE

    def __post_init__(self) -> None:
        if not (0 < self.temperature <= 100):
            raise EngineError(f"temperature {self.temperature}: give more than 0, at most 100")
        if not 0 <= self.alpha <= 1:
            raise EngineError(f"alpha {self.alpha}: give a number from 0 to 1")
        if self.data not in ("simulator", "teacher"):
            raise EngineError(f"data {self.data!r}: choose simulator or teacher")
        if self.written_tokens < 1:
            raise EngineError(f"written tokens {self.written_tokens}: give at least 1")
        if self.drafts < 0:
            raise EngineError(f"drafts {self.drafts}: give 0 (none) or more")
        if self.layers < 1:
            raise EngineError(f"layers {self.layers}: give at least 1")
        if self.hidden < HEAD_SIZE or self.hidden % HEAD_SIZE:
            raise EngineError(f"hidden {self.hidden}: give a multiple of {HEAD_SIZE}")
        for role, folder in (("teacher", self.teacher), ("student", self.student)):
            if folder is not None and self.out.resolve() == folder.resolve():
                raise EngineError(
                    f"out {str(self.out)!r} is the {role}'s own folder: give another one"
                )
        self.training(self.recipe.shape)

    def training(self, shape: Shape) -> TrainSettings:
        """The same as options of the training loop."""
        return TrainSettings(
            recipe=replace(self.recipe, shape=shape),
            out=self.out,
            tokens=self.tokens,
            minutes=self.minutes,
            seed=self.seed,
            device=self.device,
            workers=self.workers,
            checkpoint=self.checkpoint,
            checkpoint_minutes=self.checkpoint_minutes,
            compile=self.compile,
        )

    @property
    def command(self) -> str:
        """The command line that repeats the run, without this machine's paths."""
        size = f"--layers {self.layers} --hidden {self.hidden}"
        budget = (
            f"--minutes {self.minutes:g}"
            if self.minutes is not None
            else f"--tokens {self.training(self.recipe.shape).token_budget}"
        )
        return (
            f"pitwall distill --teacher {self.teacher.name} "
            f"{size if self.student is None else f'--student {self.student.name}'} "
            f"--temperature {self.temperature:g} --alpha {self.alpha:g} {budget}{self._texts} "
            f"--seed {self.seed} --out DIR"
        )

    @property
    def _texts(self) -> str:
        data = f" --data teacher --written-tokens {self.written_tokens}"
        drafts = f" --drafts {self.drafts}"
        return (data if self.data == "teacher" else "") + (drafts if self.drafts else "")


def junior_shape(teacher: Shape, layers: int, hidden: int) -> Shape:
    """Layers as the teacher's, in the sizes of `hidden`: a quarter of the heads hold keys."""
    heads = hidden // HEAD_SIZE
    kv_heads = max(n for n in range(1, max(1, heads // 4) + 1) if heads % n == 0)
    ffn = math.ceil(hidden * 8 / 3 / _FFN_STEP) * _FFN_STEP
    sizes = {"hidden": hidden, "ffn": ffn, "layers": layers, "head_size": HEAD_SIZE}
    return replace(teacher, heads=heads, kv_heads=kv_heads, **sizes)
