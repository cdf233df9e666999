"""Token ids to and from text, without torch: the tokenizer.json beside a model's weights."""

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPACE = "\u2581"


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with: printable ones as they are,
    the others from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    alphabet = {chr(byte): byte for byte in plain}
    return alphabet | {chr(0x100 + index): byte for index, byte in enumerate(others)}


class PieceDecoder:
    """One request's tokens as pieces of text, in order.

    The pieces joined, with `flush`, are the text of all the tokens: bytes of a character that is
    not complete yet are held back until a later token completes it.
    """

    def __init__(self, spellings: Mapping[int, bytes]) -> None:
        self._spellings = spellings
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def piece(self, token: int) -> str:
        """What the next token adds; "" for special tokens and for those outside the vocabulary."""
        return self._utf8.decode(self._spellings.get(token, b""))

    def pieces(self, tokens: Iterable[int], *, last: bool = False) -> tuple[str, ...]:
        """One piece a token; `last` says that no more will come, so that nothing is held back."""
        found = [self.piece(token) for token in tokens]
        if last and found:
            found[-1] += self.flush()
        return tuple(found)

    def flush(self) -> str:
        """What is still held back, as replacement characters."""
        return self._utf8.decode(b"", final=True)


class Vocabulary:
    """A model's tokenizer: byte-level BPE, or SentencePiece's with its bytes to fall back on."""

    def __init__(self, tokenizer: "Tokenizer", spellings: Mapping[int, bytes]) -> None:
        self._tokenizer = tokenizer
        self._spellings = spellings

    @classmethod
    def load(cls, folder: str | Path) -> "Vocabulary":
        """The tokenizer of a Hugging Face folder. Raises ModelError naming what is wrong."""
        # Not needed before the first frame is up.
        from tokenizers import Tokenizer

        path = Path(folder) / "tokenizer.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ModelError(f"{path}: the tokenizer cannot be read: {reason}") from None
        try:
            tokenizer = Tokenizer.from_str(text)
            spell = _speller(json.loads(text))
        except ModelError:
            raise
        except Exception as error:  # the library raises plain Exception for what it cannot parse
            reason = str(error).partition("\n")[0]
            raise ModelError(f"{path}: not a tokenizer that can be used: {reason}") from None
        if spell is None:
            raise ModelError(
                f"{path}: only byte-level and byte-fallback tokenizers can be used, not this one"
            )
        added = tokenizer.get_added_tokens_decoder()
        spellings = {
            id: spell(token)
            for token, id in tokenizer.get_vocab(with_added_tokens=True).items()
            if id not in added
        }
        for id, token in added.items():
            spellings[id] = b"" if token.special else token.content.encode()
        return cls(tokenizer, spellings)

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return len(self._spellings)

    def encode(self, text: str) -> tuple[int, ...]:
        """The token ids of a prompt, with the special tokens that the tokenizer puts round one."""
        return tuple(self._tokenizer.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the tokens: as one continuation, so a leading space stays."""
        return "".join(self.decoder().pieces(tokens, last=True))

    def decoder(self) -> PieceDecoder:
        """A decoder for one request's output."""
        return PieceDecoder(self._spellings)


class _ByteLevel:
    _ALPHABET = _byte_alphabet()

    def __call__(self, token: str) -> bytes:
        try:
            return bytes(self._ALPHABET[character] for character in token)
        except KeyError:
            return token.encode()


class _ByteFallback:
    def __call__(self, token: str) -> bytes:
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            try:
                return bytes([int(token[3:5], 16)])
            except ValueError:
                pass
        return token.replace(_SPACE, " ").encode()


def _speller(description: dict[str, Any]) -> _ByteLevel | _ByteFallback | None:
    """How the vocabulary of a tokenizer.json is spelt, told by its decoder."""
    decoder = description.get("decoder") or {}
    kinds = {part.get("type") for part in decoder.get("decoders", [decoder])}
    if "ByteLevel" in kinds:
        return _ByteLevel()
    if kinds & {"ByteFallback", "Metaspace"}:
        return _ByteFallback()
    return None
