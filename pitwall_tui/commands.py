"""Everything that can be asked of the wall, once: bindings, footer, palette, help and mouse."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from engine.config import KNOBS, WEIGHT_FORMATS
from pitwall_tui.keys import key_name, shown
from pitwall_tui.race.errors import RaceError
from pitwall_tui.words import nearest


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the keys it is bound to (as Textual names them), the key as shown, its words.

    Function keys open pages, and nothing else does: they make the row of pages in the footer.
    `active` is the footer's label while the thing that it switches is on; `label` "" keeps a
    command out of the footer.
    """

    id: str
    keys: str
    shown: str
    action: str
    help: str
    label: str = ""
    active: str = ""

    @property
    def function_key(self) -> int:
        """The number of the function key that opens a page; 0 of what is none."""
        name, _, number = self.shown.partition("F")
        return int(number) if not name and number.isdigit() else 0


COMMANDS: tuple[Command, ...] = (
    Command("freeze", "space", "space", "freeze", "hold the view; the race goes on",
            "freeze", "unfreeze"),
    Command("pause", "p", "p", "pause", "pause the engine between two steps", "pause", "go on"),
    Command("slower", "minus", "-", "pace(-1)", "hold the engine at fewer tokens a second",
            "pace"),
    Command("faster", "plus,equals_sign", "+", "pace(1)",
            "let it make more, in the end as many as it can", "pace"),
    Command("next", "n", "n", "next_race", "start the next race", "next"),
    Command("again", "N", "N", "again",
            "run this very race again, and see how far ahead of its ghost it is", "again"),
    Command("race", "f1", "F1", "race",
            "the race: up and down (or a click) follow a car, esc lets go of it", "race"),
    Command("results", "r", "r", "page('results')", "the classification, as it stands", "results"),
    Command("memory", "f2,v", "F2", "page('memory')",
            "what the KV pages do: block tables, waste, shared beginnings; arrows choose a car",
            "memory"),
    Command("batching", "f3,b", "F3", "page('batching')",
            "who runs when, what each mode of batching gives, what waiting costs", "batching"),
    Command("workshop", "f4,w", "F4", "workshop",
            "what quantizing does to weights: arrows choose layer and scheme", "workshop"),
    Command("strategy", "f5,y", "F5", "page('strategy')",
            "what drafting brings, by theory and as measured: arrows suppose an acceptance",
            "strategy"),
    Command("academy", "f6,a", "F6", "academy",
            "a draft model is distilled beside the race: losses, agreement, temperatures",
            "academy"),
    Command("bottleneck", "f7,o", "F7", "page('bottleneck')",
            "what bounds the engine: memory, arithmetic or overhead; arrows suppose other machines",
            "bottleneck"),
    Command("debrief", "f8", "F8", "page('debrief')",
            "what each setting of the knobs gave: speed, memory, quality, latencies", "debrief"),
    Command("record", "R", "R", "record", "record the race, from its start on; or end it", "rec",
            "end rec"),
    Command("theme", "t", "t", "switch_theme", "dark, light, high contrast, colour-blind", "theme"),
    Command("copy", "c", "c", "copy", "copy what the page shows as text", "copy"),
    Command("shot", "s", "s", "shot", "save the screen as an SVG picture", "shot"),
    Command("guide", "g", "g", "guide",
            "a guided race: one knob after the other, with what each gives"),
    Command("help", "question_mark", "?", "help",
            "what this screen shows and teaches, and every key", "help"),
    Command("quit", "q,ctrl+q", "q", "quit", "leave; nothing is left running", "quit"),
    Command("interrupt", "ctrl+c", "ctrl+c", "interrupt", "leave, and say so in the exit status"),
)  # fmt: skip

PACES: tuple[float, ...] = (10, 20, 40, 60, 80, 100, 150, 200, 300, 500)


@dataclass(frozen=True, slots=True)
class KnobKeys:
    """How a knob is turned: the keys to its next value, its steps, perhaps keys down and up, and
    those two as shown."""

    name: str
    key: str
    short: str
    steps: tuple[str, ...]
    down: str = ""
    up: str = ""
    shown: str = ""

    @property
    def sign(self) -> str:
        """The key to its next value, as shown."""
        return shown(self.key.partition(",")[0])


_BATCHES = ("1", "2", "4", "8", "12", "16", "20", "24", "32")
_LENGTHS = ("1", "2", "3", "4", "5", "6", "8", "12", "16", "auto")
KNOB_KEYS: tuple[KnobKeys, ...] = (
    KnobKeys("kv_cache", "1", "kv", ("on", "off")),
    KnobKeys("paging", "2", "", ("paged", "contiguous")),
    KnobKeys("prefix_cache", "3", "pfx", ("on", "off")),
    KnobKeys("batching", "4", "", ("none", "static", "continuous")),
    KnobKeys(
        "max_batch", "5", "max", _BATCHES, "left_square_bracket", "right_square_bracket", "[ ]"
    ),
    KnobKeys("static_batch", "6", "st", ("1", "2", "4", "8", "12", "16", "20")),
    KnobKeys("prefill_chunk", "7", "ch", ("0", "32", "64", "128", "256", "512", "1024")),
    KnobKeys("weights", "8", "", WEIGHT_FORMATS),
    KnobKeys("kv_dtype", "9", "kv", ("fp32", "int8")),
    KnobKeys("speculation", "d", "spec", ("off", "junior", "ngram")),
    KnobKeys("draft_length", "f", "k", _LENGTHS, "comma", "full_stop", ", ."),
    KnobKeys("acceptance", "e", "", ("equal", "ratio")),
    KnobKeys("kernels", "0", "", ("native", "torch")),
    KnobKeys("quality", "m", "qual", ("on", "off")),
)
KNOB_KEY: dict[str, KnobKeys] = {keys.name: keys for keys in KNOB_KEYS}
DEFAULTS: dict[str, str] = {knob.name: str(knob.default) for knob in KNOBS}


@dataclass(frozen=True, slots=True)
class Keys:
    """The commands and knobs (by name) with the keys that they are bound to."""

    commands: tuple[Command, ...]
    knobs: Mapping[str, KnobKeys]

    def bound(self) -> Iterator[tuple[str, str, str]]:
        """(id, action, keys with commas between them) of everything that has keys.

        A knob has three ids: its name, and that with `_down` or `_up` behind.
        """
        for command in self.commands:
            yield command.id, command.action, command.keys
        for name, knob in self.knobs.items():
            yield self._id(name), f"turn_knob('{name}', 1)", knob.key
            yield f"{name}_down", f"turn_knob('{name}', -1)", knob.down
            yield f"{name}_up", f"turn_knob('{name}', 1)", knob.up

    def _id(self, knob: str) -> str:
        """Its name, with `_knob` behind where a page has that name."""
        taken = any(command.id == knob for command in self.commands)
        return f"{knob}_knob" if taken else knob

    def remapped(self, given: Mapping[str, str]) -> "Keys":
        """With other keys for some ids, "" for none; raises RaceError for what cannot be."""
        keys = {id: bound for id, _, bound in self.bound()}
        for id, text in given.items():
            if id not in keys:
                raise RaceError(f"keys.{id} is nothing that has keys; {nearest(id, keys)}")
            try:
                keys[id] = ",".join(key_name(each.strip()) for each in text.split(",") if text)
            except RaceError as error:
                raise RaceError(f"keys.{id}: {error}") from None
        _refuse_doubles(keys, given)
        return Keys(
            tuple(
                replace(each, keys=keys[each.id], shown=shown(keys[each.id].partition(",")[0]))
                if each.id in given
                else each
                for each in self.commands
            ),
            {
                name: replace(
                    knob,
                    key=keys[self._id(name)],
                    down=(down := keys[f"{name}_down"]),
                    up=(up := keys[f"{name}_up"]),
                    shown=" ".join(shown(each.partition(",")[0]) for each in (down, up) if each),
                )
                for name, knob in self.knobs.items()
            },
        )


PALETTE_KEY = "ctrl+p"
KEYS = Keys(COMMANDS, KNOB_KEY)


def _refuse_doubles(keys: Mapping[str, str], given: Mapping[str, str]) -> None:
    owners = {PALETTE_KEY: "the palette"}
    if not keys["quit"]:
        raise RaceError("keys.quit: leave it a key")
    for id in sorted(keys, key=lambda id: id in given):  # so that what was given is named first
        for key in filter(None, keys[id].split(",")):
            if key in owners:
                raise RaceError(
                    f'keys.{id}: "{shown(key)}" is the key of {owners[key]} too; give one another'
                )
            owners[key] = id


def turned(name: str, value: str, step: int = 1) -> str:
    """The value one step after (or before) `value`; round the end. Values between steps count."""
    steps = KNOB_KEY[name].steps
    if value in steps:
        return steps[(steps.index(value) + step) % len(steps)]
    number = int(value)
    numbers = [text for text in steps if text.isdigit()]
    above = [text for text in numbers if int(text) > number]
    below = [text for text in numbers if int(text) < number]
    if step > 0:
        return above[0] if above else steps[0]
    return below[-1] if below else steps[-1]


def changed_pace(pace: float, rate: float, step: int) -> float:
    """The next pace in output tokens/s, slower or faster; 0 is flat out.

    From flat out, slower means the first pace below `rate`, what the engine does by itself.
    """
    if step > 0:
        if pace <= 0:
            return 0.0
        return next((p for p in PACES if p > pace), 0.0)
    limit = pace if pace > 0 else rate
    below = [p for p in PACES if p < limit]
    if below:
        return below[-1]
    if pace > 0:
        return pace
    return PACES[0] if rate > 0 else PACES[-1]
