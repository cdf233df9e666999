"""Text in and out of tokens: nothing dropped, nothing said twice."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from engine.config import ModelError
from pitwall_tui.feed.text import Vocabulary

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    "aL19 .\n\U0001f600\U0001f3ce\ufe0f日本語éß▁", max_size=40
)
CORPUS = [
    "L19 M18 27.62 29.20 29.88 P03 BOX H | rears are gone, box this lap\n",
    "héllo 日本 \U0001f600",
]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<end>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for piece in ["▁", "a", "b", "L", "1", "▁a", "日", "é"]:
        vocabulary[piece] = len(vocabulary)
    model = models.BPE(vocabulary, [("▁", "a")], unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


@pytest.fixture(scope="module", params=[byte_level, byte_fallback])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    request.param().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary.load(folder)


def whole(folder: Path, tokens: tuple[int, ...]) -> str:
    """The tokenizers library's own decoding of all tokens at once."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True))


@given(text=TEXTS)
def test_pieces_joined_are_the_whole_text(folder: Path, vocabulary: Vocabulary, text: str) -> None:
    tokens = vocabulary.encode(text)
    decoder = vocabulary.decoder()
    pieces = [decoder.piece(token) for token in tokens]
    assert "".join(pieces) == whole(folder, tokens)
    assert decoder.flush() == ""
    assert len(vocabulary.decoder().pieces(tokens, last=True)) == len(tokens)


@given(data=st.data())
def test_any_tokens_decode_as_a_whole_would(data: st.DataObject) -> None:
    tokenizer = byte_level()
    vocabulary = load(tokenizer)
    ids = st.integers(0, vocabulary.size - 1)
    tokens = data.draw(st.lists(ids, max_size=12))
    assert vocabulary.decode(tokens) == tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize("text", ["😀", "日本", "é", "🏎️"])
def test_a_character_appears_whole_when_its_last_byte_comes(
    vocabulary: Vocabulary, text: str
) -> None:
    decoder = vocabulary.decoder()
    said = ""
    for token in vocabulary.encode(text):
        said += decoder.piece(token)
        assert text.startswith(said)
    assert said == text


def test_a_character_that_never_ends_is_flushed_once(vocabulary: Vocabulary) -> None:
    decoder = vocabulary.decoder()
    cut = vocabulary.encode("😀")[:-1]
    assert len(cut) > 0
    assert decoder.pieces(cut) == ("",) * len(cut)
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""
    assert vocabulary.decode(cut) == "\ufffd"


def test_special_and_unknown_tokens_add_nothing(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("BOX box", normalized=False)])
    vocabulary = load(tokenizer)
    end, box = tokenizer.token_to_id("<end>"), tokenizer.token_to_id("BOX box")
    assert vocabulary.decoder().pieces([end, box, vocabulary.size + 5]) == ("", "BOX box", "")


def load(tokenizer: Tokenizer) -> Vocabulary:
    with TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        return Vocabulary.load(folder)


def word_piece() -> str:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    return str(tokenizer.to_str())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "not text"),
        (b"{", "not a tokenizer"),
        (b"[]", "not a tokenizer"),
        (json.dumps({"model": {}}).encode(), "not a tokenizer"),
        (word_piece().encode(), "only byte-level"),
    ],
)
def test_a_bad_tokenizer_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        Vocabulary.load(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert "\n" not in str(caught.value)
