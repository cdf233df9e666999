"""The model card of a distilled draft model, from the run's facts and the sweep's rows.

`python -m engine.training.junior_card FOLDER [--sweep FILE]` writes it again, with the tables.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.training.card import rewrite, shared_fields, write_rendered

_CARD = """\
{head}

A draft model of the Llama architecture, {parameters:,} parameters. It guesses what Pitwall's
`{teacher}` will write next in a motor race; the `{teacher}` checks the guesses.

{shape}

## Training

```
{command}
```

The loss is alpha T² KL(teacher || student) + (1 - alpha) cross-entropy on the tokens, both
distributions at temperature T = {temperature:g}, alpha = {alpha:g}. The two tokens after each
decimal point weigh {noise_weight:g} in the cross-entropy, and like every other in the divergence.

{tokens:,} tokens ({trained_tokens:,} of them in the loss) of races {data}, in {steps:,} steps,
seed {seed}: {seconds:.0f} s on {device}, {tokens_per_second:,} tokens/s, torch {torch}.{drafts}

## Measured on held-out races

{places:,} body tokens of {documents:,} documents from simulator seeds that nothing was trained
on, the text as the simulator wrote it; the weights as they are stored, in fp32.

| | student | teacher |
|---|---|---|
| nats per token | {nats:.4f} | {teacher_nats:.4f} |
| the right token is the likeliest | {accuracy:.1%} | {teacher_accuracy:.1%} |

| agreement with the teacher | |
|---|---|
| same likeliest token (greedy acceptance) | {top1_agreement:.1%} |
| 1 - TV at sampling temperature 0.8 (rejection sampling's acceptance) | {overlap:.1%} |
| same token with the same noise at 0.8 (coupled acceptance, {draws} draws) | {coupled:.1%} |
| drafts accepted of 5, from every place: greedy; coupled | {greedy_run:.2f}; {coupled_run:.2f} |
| tokens a round of 5 drafts: greedy; coupled | {greedy_tokens_per_round:.2f}; \
{coupled_tokens_per_round:.2f} |
{race}{sweep}
## Use

As the draft model of Pitwall's engine, beside the teacher that it was made for. On its own it
writes worse races than its teacher.

License: MIT.
"""

_DATA = {
    "simulator": "from Pitwall's simulator, made while training ran and new to the teacher too",
    "teacher": "that the teacher wrote at temperature 0.8, {:,} tokens read again and again",
    "rows": "from Pitwall's simulator, {:,} tokens read again and again",
}
_DRAFTS = (
    " Then one pass over {:,} tokens with races that the student wrote itself, for the"
    " divergence alone."
)

_RACE = """
In a race of {requests} held-out cars at temperature {temperature:g}, {tokens:,} tokens, the engine
accepted {acceptance:.1%} of its drafts, {draft_length} at a time: {mean_acceptance_length:.2f} \
tokens a round.
"""

_SWEEP = """
## Temperature, alpha and size

Every row of a table had the same documents and as many tokens, {tokens:,}, on {device}.

{table}

Soft targets serve acceptance better than labels at every temperature: a place teaches what the
teacher makes of every token there, and a draft is kept where both make the same of the noise, of
whichever token that favours. T = 8 does best, if by little. At T = 1 the loss is nearly all of the
likeliest tokens; the higher T, the more it is of the differences of all logits (in the limit it is
their squared error), which is what decides where noise moves the choice; from 8 on there is
nothing more to gain. A tenth of labels beside it does no harm: alone (alpha 1) the divergence got
no further. One run each: tenths of a percent are not to be trusted.
"""


def _race(race: dict[str, Any] | None) -> str:
    """Nothing of a race that was not run, or in which nobody drafted."""
    return _RACE.format(**race) if race and race["drafts"] else ""


def row_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown of the sweep's rows."""
    lines = [
        "| size | parameters | T | alpha | nats | top-1 | 1 - TV at 0.8 | coupled at 0.8 "
        "| tokens a round, coupled | greedy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shape, found = row["shape"], row["acceptance"]
        heat = f"{row['temperature']:g}" if row["alpha"] else "-"
        lines.append(
            f"| {shape['layers']} x {shape['hidden']} | {row['parameters']:,} | {heat} "
            f"| {row['alpha']:g} | {row['held_out']['nats_per_token']:.4f} "
            f"| {found['top1_agreement']:.4f} | {found['overlap']:.4f} | {found['coupled']:.4f} "
            f"| {found['coupled_tokens_per_round']:.3f} "
            f"| {found['greedy_tokens_per_round']:.3f} |"
        )
    return "\n".join(lines)


def render_card(facts: dict[str, Any], rows: Sequence[dict[str, Any]] = ()) -> str:
    """README.md's text."""
    sweep = ""
    if rows:
        sweep = _SWEEP.format(
            tokens=rows[0]["tokens"], device=rows[0]["device"], table=row_table(rows)
        )
    teacher, held_out = facts["teacher"], facts["held_out"]
    return _CARD.format(
        **shared_fields(
            facts,
            title=f"Pitwall junior: {'distilled' if facts['alpha'] else 'hard labels only'}",
            tags="llama, racing, simulation, speculative-decoding",
            tokenizer="the teacher's",
        ),
        **facts["acceptance"],
        race=_race(facts["race"]),
        temperature=facts["temperature"],
        alpha=facts["alpha"],
        data=_DATA[facts["data"]].format(facts["written_tokens"]),
        drafts=_DRAFTS.format(facts["drafts"]["tokens"]) if facts["drafts"] else "",
        teacher=teacher["name"],
        documents=held_out["documents"],
        nats=held_out["nats_per_token"],
        accuracy=held_out["accuracy"],
        teacher_nats=teacher["nats_per_token"],
        teacher_accuracy=teacher["accuracy"],
        sweep=sweep,
    )


def write_card(folder: Path, sweep: Path | None = None) -> None:
    """Writes README.md into a folder that `distill` has made; `sweep` holds {"rows": [...]}."""
    write_rendered(
        folder, sweep, lambda facts, found: render_card(facts, found["rows"] if found else ())
    )


if __name__ == "__main__":
    rewrite(write_card, "sweep", "JSON of the temperature sweep")
