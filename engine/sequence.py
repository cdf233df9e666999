"""A request as the engine holds it while it runs."""

from engine.config import Request
from engine.pages import PrefixKey
from engine.stats import FinishReason, State


class Sequence:
    """`tokens` (prompt and committed output) is the only truth; all else can be rebuilt.

    Keys and values of `tokens[:computed]` are valid in `pages`, the draft model's there of
    `tokens[:drafted]`.
    """

    __slots__ = (
        "_keys",
        "computed",
        "drafted",
        "finish_reason",
        "finished",
        "first_token",
        "hit_tokens",
        "pages",
        "preemptions",
        "published",
        "request",
        "state",
        "submitted",
        "tainted",
        "tokens",
    )

    def __init__(self, request: Request, submitted: float) -> None:
        self.request = request
        self.tokens = [*request.prompt, *request.output]
        self.computed = 0
        self.drafted = 0
        self.pages: list[int] = []
        self.published = 0
        # Some of its keys and values were computed by other weights than now serve.
        self.tainted = False
        self.state: State = "waiting"
        self.hit_tokens = 0
        self.preemptions = 0
        self.submitted = submitted
        self.first_token: float | None = None
        self.finished: float | None = None
        self.finish_reason: FinishReason | None = None
        self._keys: list[PrefixKey] = []

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def output(self) -> list[int]:
        return self.tokens[len(self.request.prompt) :]

    @property
    def output_length(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    def keys(self, page_size: int, count: int) -> list[PrefixKey]:
        """Keys of its first `count` full pages; they outlive preemption."""
        while len(self._keys) < count:
            index = len(self._keys)
            parent = self._keys[-1].digest() if self._keys else b""
            tokens = self.tokens[index * page_size : (index + 1) * page_size]
            self._keys.append(PrefixKey(parent, tuple(tokens)))
        return self._keys[:count]
